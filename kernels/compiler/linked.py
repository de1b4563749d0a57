"""Kernels as parts of the entry kernels that call them, directly or not.

numba optimises a jitted function with all it calls linked in, emits machine code and two wrappers for it, and then
does the same for each of its callers. Of functions that only other kernels call nothing of that is kept: an entry
kernel links all of them, each once, and is optimised as a whole. A part stops before it, which saves more than half of
the compile time and changes neither results nor speed.
"""

import functools

from numba import njit, types

from .numba_internals import Compiler, CPUDispatcher, JITCodeLibrary


class _NoEnvironment:
    """Takes the environment of a function that has no machine code."""

    @staticmethod
    def set_env(name, environment):
        pass


class _PartLibrary(JITCodeLibrary):
    """Code that is linked into other code and never runs from here. What it calls is linked there, too."""

    codegen = _NoEnvironment

    def finalize(self):
        self._raise_if_finalized()
        self._final_module.verify()
        self._finalize_final_module()

    def _optimize_final_module(self):
        pass

    def _finalize_final_module(self):
        self._finalize_dynamic_globals()
        self._finalized = True

    def get_pointer_to_function(self, name):
        self._ensure_finalized()
        return 0


class _WholeLibrary(JITCodeLibrary):
    """Code that runs from here, with every part that it calls, directly or not.

    Nobody else sees these parts: LLVM may drop arguments that they do not use (of an array most of its words), and a
    part that is called in one place is inlined there.
    """

    def finalize(self):
        self._own = {function.name for function in self._final_module.functions if not function.is_declaration}
        found = set(self._linking_libraries)
        for library in self._linking_libraries:  # it grows
            for inner in library._linking_libraries if isinstance(library, _PartLibrary) else ():
                if inner not in found:
                    found.add(inner)
                    self._linking_libraries.append(inner)
        super().finalize()

    def _optimize_final_module(self):
        for function in self._final_module.functions:
            if not function.is_declaration and function.name not in self._own:
                function.linkage = "internal"
        super()._optimize_final_module()


class _PartCompiler(Compiler):
    """numba's usual pipelines into a `_PartLibrary`."""

    def define_pipelines(self):
        state = self.state
        state.library = _PartLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        return super().define_pipelines()


class _WholeCompiler(Compiler):
    """numba's usual pipelines into a `_WholeLibrary`."""

    def define_pipelines(self):
        state = self.state
        state.library = _WholeLibrary(state.targetctx.codegen(), state.func_id.func_qualname)
        state.library.enable_object_caching()
        return super().define_pipelines()


def whole(function, **options):
    """Make a jitted function of Python that links the parts it calls."""
    return njit(pipeline_class=_WholeCompiler, **options)(function)


class Part(CPUDispatcher):
    """A jitted function for other jitted functions; a call from Python (a test) compiles it on its own."""

    def __init__(self, function, **options):
        self._options = options
        more = {"nopython": True, "no_cpython_wrapper": True, "no_cfunc_wrapper": True}
        super().__init__(function, targetoptions=options | more, pipeline_class=_PartCompiler)

    def get_call_template(self, args, kws):
        """Take a constant as any value of its type: numba compiles a version for each, which LLVM does better."""
        plain = {name: types.unliteral(kind) for name, kind in kws.items()}
        return super().get_call_template([types.unliteral(kind) for kind in args], plain)

    @functools.cached_property
    def _alone(self):
        return whole(self.py_func, **self._options)

    def __call__(self, *args):
        return self._alone(*args)
