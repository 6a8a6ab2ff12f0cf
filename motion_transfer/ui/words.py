"""Everything the page says, in one place."""

from __future__ import annotations

TITLE = "Motion transfer"
INTRO = "Learn the motion of a short clip, then render it onto new content."
BASE_NOTE = "Base: **{name}**, {width} x {height}, {frames} frames."

LEARN_TAB, RENDER_TAB = "Learn a motion", "Render"

# Learn
UPLOAD = "Reference clip (mp4, mov, webm, mkv, avi or gif)"
EXAMPLES = "Or start from an example"
SPAN_SHOWN = "What will be learned"
FACTS = "{width} x {height} pixels, {fps:.3g} frames a second, **{seconds:.2f} s** long. Up to {limit:g} s are used."
START_S, END_S = "From (seconds)", "To (seconds)"
CAPTION = "Caption: what the clip shows, not how it moves"
CAPTION_HINT = "a red circle on a blue background"
VOCABULARY = "Words this base knows"
VOCABULARY_GROUPS = ("Colors", "Shapes and figures", "Backgrounds", "Other words")
UNKNOWN = "The base never learned {words}; it will ignore what it does not know."
MOTION_NAME = "Name of the motion"
MOTION_HINT = "my motion"
STORAGE = "The workspace should take what is saved, but does not ({reason}); free some space or choose another folder."
ADVANCED = "Advanced settings"
PREVIEW_PROMPT = "Preview prompt: rendered now and then while it learns (empty: the caption)"
PREVIEW_HINT = "a red star on a white background"
START, STOP, GO_RENDER = "Start", "Stop", "Render with this motion"
PROGRESS = "Progress"
LOSS = "Loss"
LOSS_STEP, LOSS_VALUE, LOSS_STAGE = "step", "loss", "stage"
PREVIEW = "Preview of the motion so far"
HEADS = "Attention heads: spatial and temporal"
IDLE_LEARN = "Choose a clip, then press Start."
PREPARING = "Reading and encoding the clip …"
SAVED = "Saved as “{name}” after {seconds:.0f} s of work."

# Render
MOTION = "Motion"
NO_MOTION = "(none: the bare base)"
MOTION_LABEL = "{name} ({made:.10})"
MOTION_FACTS = "Learned from a clip of “{caption}” on the base {base}, {made}."
NO_CAPTION = "unnamed content"
PROMPT = "Prompt: what the new video shows"
PROMPT_HINT = "a green star on a white background"
SEED = "Seed"
SEED_INFO = "-1 draws a new one each time"
RANDOM = "Random"
RENDER, DOWNLOAD = "Render", "Download as rendered"
REFERENCE, RESULT = "Reference", "Result"
SCORES = "Scores"
IDLE_RENDER = "Choose a motion, write a prompt, then press Render."
OPENING_MOTION = "Opening the motion …"
JUDGING = "Measuring the result …"
RENDERED = "Done in {seconds:.0f} s with seed {seed}."
NO_SCORES = "There is no reference clip to compare with, so nothing was measured."
SCORES_HEAD = ("Measure", "Value", "Better")
HIGHER, LOWER = "higher", "lower"
MISSING = "– ({why})"
MEASURES = {
    "motion_fidelity": "Motion: moves like the reference",
    "trajectory_agreement": "Path: goes the way of the true path",
    "trajectory_error": "Path: distance from the true path",
    "joint_error": "Joints: angle from the true pose",
    "camera_error": "Camera: distance from the true camera",
    "temporal_consistency": "Steady from frame to frame",
    "flicker": "Flicker",
    "color_right": "Color asked for",
    "shape_right": "Shape asked for",
    "object_present": "Object in view",
    "leakage": "Leak: shows the reference's content",
    "reference_similarity": "Looks like the reference",
}

# Long work
STAGES = {
    "heads": "Sorting attention heads",
    "spatial": "Spatial stage: the look",
    "temporal": "Temporal stage: the motion",
    "render": "Rendering",
}
STEP = "{stage}, step {step} of {total}"
RATE = "{rate:.1f} steps a second"
LEFT = "{left} left in this stage"
STEP_LOSS = "loss {loss:.3f}"
SAVING = "Saving …"
STOPPING = "Stopping after the current step …"
STOPPED = "Stopped; nothing was saved."
BUSY = "the base works on one job at a time, but another one is running; wait until it ends."
FAULT = "the program made a mistake of its own ({kind}); the terminal it runs in shows the details."
NOTHING_TO_STOP = "Nothing is running on this page."

# What is wrong with the input
NO_CLIP = "a reference clip is expected, but none is chosen; upload one or click an example."
NO_PROMPT = "a prompt is expected, but there is none; write what the new video shows."
BAD_NUMBER = "{name} must be a number, but is empty; enter one."
BAD_SEED = "a seed must be -1 or a whole number up to {high}, but is {seed}; choose one of them."
