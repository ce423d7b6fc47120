"""Prompts for greedy continuation: prose, questions, code, lists, other languages; some long, some cut mid-word."""

PROMPTS = (
    "The capital of France is",
    "Once upon a time, in a small village by the sea, there lived an old fisherman who",
    "Photosynthesis is the process by which",
    "Q: What is the difference between a virus and a bacterium?\nA: A virus",
    "Dear Mr. Thompson,\n\nThank you for your letter of 12 March. I am writing to",
    "Ingredients:\n- 200 g flour\n- 2 eggs\n- 1 pinch of salt\n\nInstructions:\n1.",
    "The three laws of thermodynamics can be summarised as follows. First,",
    "In 1969, Neil Armstrong became the first person to walk on the Moon. Apollo 11 was launched by",
    "def fibonacci(n):\n    ",
    "#include <stdio.h>\n\nint main(void) {\n    for (int i = 0; i < 10; i++)",
    "SELECT name, COUNT(*) FROM orders JOIN customers ON",
    "// Returns the index of the first element that satisfies the predicate, or -1.\nfunction findIndex(array, ",
    "class Stack:\n    def __init__(self):\n        self.items = []\n\n    def push(self, item):",
    '{"name": "Alice", "age": 31, "languages": ["English", "German"], "address": {',
    "La Révolution française a commencé en",
    "Die Hauptstadt von Deutschland ist",
    "El perro corre por el parque mientras",
    "北京是中国的首都，",  # noqa: RUF001 - that is how Chinese writes it
    "Россия — самая большая страна",
    "2 + 2 = 4\n3 + 5 = 8\n7 + 6 = 13\n9 + 4 =",
)
