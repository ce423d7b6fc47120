"""Opening the default model."""

from benchmarks.common import real_model
from realizar.gguf import GGUFFile
from realizar.llm import LLM


class Load:
    """From a path to something that answers."""

    def setup(self):
        self.path = real_model()

    def time_open_file(self):
        GGUFFile(self.path).close()

    def time_llm(self):
        LLM(self.path).close()

    def time_llm_and_tokenizer(self):
        with LLM(self.path) as llm:
            llm.tokenize("ready")

    def peakmem_llm(self):
        LLM(self.path).close()
