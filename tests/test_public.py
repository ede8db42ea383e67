"""The public names: listed, light to import, functions where functions are promised."""

import importlib
import inspect
import subprocess
import sys

import pytest

import fairjax

PACKAGES = ("fairjax", "fairjax.auditing", "fairjax.embeddings", "fairjax.models", "fairjax.report")
ORDERS = {
    "the package": "import fairjax; audit = fairjax.audit",
    "the module, then the package": "import fairjax.audit; audit = fairjax.audit",
    "the package, then the module": "import fairjax; fairjax.audit; import fairjax.audit as audit",
    "the module under a name": "import fairjax.audit as audit",
    "from the package": "from fairjax import audit",
    "the room first": "import fairjax.auditing, fairjax.audit; from fairjax.auditing import audit",
}


@pytest.mark.parametrize("package", PACKAGES)
def test_every_public_name_is_listed_and_exists(package):
    module = importlib.import_module(package)
    assert set(module.__all__) <= set(dir(module))
    for name in module.__all__:
        assert getattr(module, name) is not None, name
    with pytest.raises(AttributeError, match="nothing"):
        module.nothing  # noqa: B018


@pytest.mark.parametrize("package", PACKAGES)
def test_import_loads_nothing_slow(package):
    code = f"import sys, {package}; print({{'jax', 'numpy', 'pandas', 'flax'}} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("order", ORDERS)
def test_audit_is_a_function_in_whatever_order_it_is_imported(order):
    code = f"{ORDERS[order]}\nprint(type(audit).__name__, audit.__module__)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["function", "fairjax.auditing.classification"]


@pytest.mark.parametrize("function", [fairjax.audit, fairjax.audit_segmentation])
def test_an_audit_has_a_signature_help_and_types(function):
    signature = inspect.signature(function)
    assert {"groups", "cluster", "n_boot", "policy", "seed"} <= set(signature.parameters)
    assert str(signature.return_annotation).strip("'") == "AuditReport"
    assert "Args:" in inspect.getdoc(function)


def public_functions():
    modules = [importlib.import_module(name) for name in (*PACKAGES, "fairjax.register")]
    found = {getattr(module, name) for module in modules for name in module.__all__}
    return sorted(filter(inspect.isfunction, found), key=lambda function: function.__qualname__)


@pytest.mark.parametrize("function", public_functions(), ids=lambda function: function.__name__)
def test_public_functions_take_at_most_six_arguments_by_position(function):
    kinds = (inspect.Parameter.POSITIONAL_ONLY, inspect.Parameter.POSITIONAL_OR_KEYWORD)
    parameters = inspect.signature(function).parameters.values()
    assert sum(parameter.kind in kinds for parameter in parameters) <= 6
