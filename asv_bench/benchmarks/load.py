"""Startup time: imports, and loading the default model."""

from benchmarks.common import real_model
from realizar import LLM, SamplingParams
from realizar.gguf import GGUFFile


class Imports:
    """Imports, each in a fresh interpreter."""

    def timeraw_package(self):
        return "import realizar"

    def timeraw_facade(self):
        return "from realizar import LLM, SamplingParams"

    def timeraw_plugins(self):
        return "for point in points: point.load()", "from realizar.arch import registry; points = registry.selected()"

    def timeraw_one_architecture(self):
        return "registry.default().architecture('llama')", "from realizar.arch import registry"


class Load:
    """From a path to a usable model."""

    def setup(self):
        self.path = real_model()

    def time_open_file(self):
        GGUFFile(self.path).close()

    def time_llm(self):
        LLM(self.path).close()

    def time_llm_and_tokenizer(self):
        with LLM(self.path) as llm:
            llm.tokenize("ready")

    def time_llm_and_first_token(self):
        with LLM(self.path) as llm:
            llm.generate([1, 2, 3], SamplingParams(max_tokens=1, ignore_eos=True))

    def peakmem_llm(self):
        LLM(self.path).close()
