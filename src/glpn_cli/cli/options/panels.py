"""The headings of help."""

DATA = "Images with known depth"
SOURCE = "What goes in"
RESULT = "What comes out"
LOOK = "What images of depth look like"
WORK = "How it is computed"
SPACE = "In space (ply, glb)"
TALK = "What is said"
