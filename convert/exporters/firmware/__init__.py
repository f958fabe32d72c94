"""A step model as C that needs no runtime: constants, the kernels it uses, one call a step."""
