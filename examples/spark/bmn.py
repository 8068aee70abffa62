"""libbiomistral_nlu from Python by ctypes: entities of texts, with offsets in code points, as Python's strings count.

    with Model("model.gguf", library="libbiomistral_nlu.so") as model:
        for answer in model.extract({"labels": ["drug"]}, notes):
            for span in answer.spans: assert note[span["start"]:span["end"]] == span["text"]

One process, any number of threads; calls of one model take turns. No text is in any error.
"""

import ctypes
import functools
import json
import threading
from ctypes import POINTER, byref, c_char_p, c_int32, c_size_t, c_uint32, c_void_p
from typing import NamedTuple

CODE_POINT = 1
WINDOW = 4
ABI = 0


class Str(ctypes.Structure):
    _fields_ = [("ptr", c_char_p), ("len", c_size_t)]


class RuntimeOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32), ("device", c_int32), ("threads", c_uint32), ("log_level", c_int32),
        ("memory_limit", ctypes.c_uint64), ("log", c_void_p), ("log_user_data", c_void_p),
    ]


class RunOptions(ctypes.Structure):
    _fields_ = [
        ("struct_size", c_uint32), ("flags", c_uint32), ("timeout_ms", c_uint32), ("batch", c_uint32),
        ("adapter", c_char_p), ("cancel", c_void_p), ("progress", c_void_p), ("progress_user_data", c_void_p),
        ("chat_template", c_uint32), ("window_tokens", c_uint32), ("window_overlap", c_uint32), ("max_spans", c_uint32),
        ("max_words", c_uint32), ("permute", c_uint32), ("scale_low", c_int32), ("scale_high", c_int32),
    ]


class NluError(Exception):
    """A failed call: the name of its status, and one sentence."""

    def __init__(self, status, message):
        super().__init__(f"{status}: {message}")
        self.status = status


class Answer(NamedTuple):
    """The outcome of one text: "OK" or the status's name without BMN_E_, why it failed, and its spans."""

    status: str
    reason: str
    spans: list


FUNCTIONS = {  # name: result, arguments
    "bmn_abi_version": (c_uint32, []),
    "bmn_version_string": (c_char_p, []),
    "bmn_status_name": (c_char_p, [c_int32]),
    "bmn_error_message": (c_char_p, [c_void_p]),
    "bmn_error_free": (None, [c_void_p]),
    "bmn_runtime_options_init": (None, [c_void_p, c_size_t]),
    "bmn_runtime_new": (c_int32, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "bmn_runtime_free": (None, [c_void_p]),
    "bmn_model_open": (c_int32, [c_void_p, c_char_p, c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "bmn_model_info_json": (c_char_p, [c_void_p]),
    "bmn_model_free": (None, [c_void_p]),
    "bmn_adapter_open": (c_int32, [c_void_p, c_char_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "bmn_model_set_adapter": (c_int32, [c_void_p, c_char_p, c_void_p, c_void_p, POINTER(c_void_p)]),
    "bmn_adapter_free": (None, [c_void_p]),
    "bmn_session_new": (c_int32, [c_void_p, POINTER(c_void_p), POINTER(c_void_p)]),
    "bmn_session_free": (None, [c_void_p]),
    "bmn_schema_from_json": (c_int32, [c_char_p, c_size_t, POINTER(c_void_p), POINTER(c_void_p)]),
    "bmn_schema_free": (None, [c_void_p]),
    "bmn_run_options_init": (None, [c_void_p, c_size_t]),
    "bmn_extract": (
        c_int32,
        [c_void_p, c_void_p, POINTER(Str), c_size_t, c_void_p, POINTER(c_void_p), POINTER(c_int32), POINTER(c_void_p)],
    ),
    "bmn_result_json": (c_char_p, [c_void_p, c_uint32]),
    "bmn_result_free": (None, [c_void_p]),
}


def load(library):
    """The shared object with its functions declared; one of another ABI is refused."""
    lib = ctypes.CDLL(library)
    for name, (result, arguments) in FUNCTIONS.items():
        function = getattr(lib, name)
        function.restype, function.argtypes = result, arguments
    if lib.bmn_abi_version() != ABI:
        raise NluError("ABI", f"{library}: expected ABI {ABI}, found {lib.bmn_abi_version()}")
    return lib


class Model:
    """Weights with one session. `adapter` is the folder of a LoRA adapter that every answer comes from."""

    def __init__(self, path, library="libbiomistral_nlu.so.0", device=-1, threads=0, adapter=None):
        self.lib, self.turn = load(library), threading.Lock()
        self.model, self.session, self.name = None, None, None
        options = RuntimeOptions()
        self.lib.bmn_runtime_options_init(byref(options), ctypes.sizeof(options))
        options.device, options.threads = device, threads
        runtime = self._made(self.lib.bmn_runtime_new, byref(options))
        try:
            self.model = self._made(self.lib.bmn_model_open, runtime, str(path).encode(), None)
        finally:
            self.lib.bmn_runtime_free(runtime)
        try:
            if adapter is not None:
                self._adapter(str(adapter))
            self.session = self._made(self.lib.bmn_session_new, self.model)
        except NluError:
            self.close()
            raise

    def _made(self, function, *arguments):
        out = c_void_p()
        self._check(function, *arguments, byref(out))
        return out

    def _check(self, function, *arguments):
        err = c_void_p()
        status = function(*arguments, byref(err))
        if status != 0:
            message = (self.lib.bmn_error_message(err) or b"").decode()
            self.lib.bmn_error_free(err)
            raise NluError(self._name(status), message)

    def _name(self, status):
        return self.lib.bmn_status_name(status).decode().removeprefix("BMN_E_").removeprefix("BMN_")

    def _adapter(self, folder):
        adapter = self._made(self.lib.bmn_adapter_open, self.model, folder.encode())
        try:
            self._check(self.lib.bmn_model_set_adapter, self.model, b"adapter", adapter, None)
        finally:
            self.lib.bmn_adapter_free(adapter)
        self.name = b"adapter"

    def info(self):
        """What the model is: `weights` names them, `version` is the engine's."""
        return {"version": self.lib.bmn_version_string().decode(), **json.loads(self.lib.bmn_model_info_json(self.model))}

    def extract(self, schema, texts, batch=0, windows=False):
        """An `Answer` per text, in order; a text that fails (too long, a lone surrogate) fails alone."""
        # A lone surrogate passes as the bytes it has, which are not UTF-8: the library says so for that text.
        encoded = [text.encode("utf-8", "surrogatepass") for text in texts]
        n = len(encoded)
        docs = (Str * max(1, n))(*[Str(data, len(data)) for data in encoded])
        results, statuses = (c_void_p * max(1, n))(), (c_int32 * max(1, n))()
        options = RunOptions()
        self.lib.bmn_run_options_init(byref(options), ctypes.sizeof(options))
        options.batch, options.adapter, options.flags = batch, self.name, WINDOW if windows else 0
        asked = json.dumps(schema).encode()
        with self.turn:
            if self.session is None:
                raise ValueError("the model is closed")
            made = self._made(self.lib.bmn_schema_from_json, asked, len(asked))
            try:
                self._check(self.lib.bmn_extract, self.session, made, docs, n, byref(options), results, statuses)
            finally:
                self.lib.bmn_schema_free(made)
        try:
            return [self._answer(texts[i], results[i], statuses[i]) for i in range(n)]
        finally:
            for i in range(n):
                self.lib.bmn_result_free(results[i])

    def _answer(self, text, result, status):
        answer = json.loads(self.lib.bmn_result_json(result, CODE_POINT))
        if status != 0:
            return Answer(self._name(status), answer["error"], [])
        for span in answer["spans"]:
            verbatim(text, span)
        return Answer("OK", "", answer["spans"])

    def close(self):
        """Frees the model; a second time does nothing."""
        with self.turn:
            self.lib.bmn_session_free(self.session)
            self.lib.bmn_model_free(self.model)
            self.session = self.model = None

    def __enter__(self):
        return self

    def __exit__(self, *exception):
        self.close()


@functools.lru_cache(maxsize=1)
def shared(*arguments):
    """The process's one model of these arguments, opened at the first call."""
    return Model(*arguments)


def verbatim(text, span):
    """Raises unless `span` is the text between its offsets. The message holds neither."""
    start, end = span["start"], span["end"]
    if not 0 <= start <= end <= len(text) or text[start:end] != span["text"]:
        raise NluError("INTERNAL", f"span {start}-{end}: expected the text between its offsets")
