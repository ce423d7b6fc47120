"""Pictures and sounds in prompts: mmproj files, their encoders, and reading pictures and sounds safely.

read.py and read_sound.py read what others made, source.py and sound_source.py decide where it comes from, kind.py has
what messages call it; projector_file.py opens an mmproj file, beside.py finds one; encoder.py computes rows and keeps
them; conversation.py puts them into a prompt.
"""
