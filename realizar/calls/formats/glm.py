"""GLM 4.5 to 4.7, Ling 3, Laguna, Spark 2.5: <tool_call>NAME with <arg_key> and <arg_value> for each argument."""

from realizar.calls.chat_format import ChatFormat
from realizar.calls.tags import TagNotation

FORMAT = ChatFormat(
    "glm",
    contains=("<tool_call>", "<arg_key>", "<arg_value>"),
    arguments=TagNotation("<arg_key>{key}</arg_key><arg_value>{value}</arg_value>"),
)
