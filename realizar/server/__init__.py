"""The HTTP server: `realizar serve`, with the APIs of OpenAI, Anthropic, Ollama and llama-server (docs/server.md).

settings.py   options, from the command line, the environment and a TOML file
app.py        the ASGI application; middleware.py: keys, limits of bodies, request ids, the access log
connections.py  limits of the head of a request
models.py     loads models at first use and unloads the least recently used
answers.py    submits prompts and reads the engine's events; sse.py and replies.py send the results
openai_*.py, anthropic_*.py, ollama.py, llama_server.py    one module for each protocol, or for a part of it
page.py       the chat page, whose sources and build are in web/ (docs/web.md)
run.py        runs the application with uvicorn
"""
