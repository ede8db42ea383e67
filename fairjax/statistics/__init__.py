"""How sure one can be: the bootstrap over patients."""
