"""Pictures in prompts: mmproj files, their encoders, and reading pictures safely.

read.py reads a picture as others made it, source.py decides where it comes from; projector_file.py opens an mmproj
file, beside.py finds one; encoder.py computes rows and keeps them; conversation.py puts them into a prompt.
"""
