"""Group maps that several datasets share."""

SEX = {"female": "female", "male": "male"}
SEX_LETTERS = {"F": "female", "M": "male"}
SEX_ANY = {**SEX_LETTERS, **SEX, "Female": "female", "Male": "male"}
YEARS = r"^0*(\d+)Y$"  # an age as DICOM writes it: 039Y
STANFORD = "Stanford University Dataset Research Use Agreement"
PHYSIONET = "PhysioNet Credentialed Health Data License 1.5.0"
HARVARD = "CC BY-NC-ND 4.0"
