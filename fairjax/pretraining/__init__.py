"""How the encoder that ships with fairjax was trained; no user's way goes through here."""
