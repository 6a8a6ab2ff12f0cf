"""Everything the page says, in one place."""

from __future__ import annotations

TITLE = "Motion transfer"
INTRO = "Learn the motion of a short clip, then render it onto new content."
BASE_NOTES: dict[str, str] = {}  # of shipped bases, where the base's own note is in another language
BASE_NOTE = "Base: **{name}**, {width} x {height}, {frames} frames."
DISTILLED = "It is distilled: it renders in {steps} steps, without guidance."
DISTILLED_LEARNING = (
    "**This base is distilled, and learning was not made for that:** it compares velocities at all noise levels, but a "
    "distilled base knows a few. A motion may come out weak; learn it on a base that is not distilled."
)
MISFITS = {
    "steps": "**{asked} steps are set, but this base is distilled for {wanted}.**",
    "guidance": "**Guidance of {asked} is set, but a distilled base has it in its weights; {wanted} suits it.**",
    "flow_shift": "**A flow shift of {asked} is set, but this base is distilled for {wanted}.**",
}

LEARN_TAB, MIX_TAB, JOBS_TAB = "Learn", "Mix", "Jobs"
LIBRARY_TAB, PRESETS_TAB, SYSTEM_TAB = "Library", "Presets", "System"

# The guided first run
TOUR = "New here?"
TOUR_CHOOSE = "On *Learn*, upload a short clip or click an example, then press Start."
TOUR_WAIT = "Its motion is being learned. You may close this page; the work goes on."
TOUR_PROMPT = "On *Mix*, choose the motion, write what the new video shows, and press Render."
TOUR_BEGIN, TOUR_HIDE = "Learn an example for me", "Hide this"

# Learn
UPLOAD = "Reference clip (mp4, mov, webm, mkv, avi or gif)"
EXAMPLES = "Or start from an example"
SPAN_SHOWN = "What will be learned"
STRIP = "The whole clip; click where the span should start or end"
CUTS = "**The picture seems to cut at {times}.** A motion is learned from one shot: choose a span between the cuts."
MOVEMENT = "Whose motion"
BAD_MOVEMENT = "movement must be one of {all}, but is {asked:.40}; choose one."
MOVEMENT_ALL = "All motion"
MOVEMENT_CAMERA = "The camera's alone (things stand still)"
MOVEMENT_THINGS = "That of things (the camera stands still)"
CROP, CROP_SHOWN = "Crop", "What of the picture is learned"
ZOOM, CROP_X, CROP_Y = "Zoom", "Left to right", "Top to bottom"
FACTS = "{width} x {height} pixels, {fps:.3g} frames a second, **{seconds:.2f} s** long. Up to {limit:g} s are used."
FRAME_RULE = (
    "{frames} frames of the span are learned, evenly spread, whatever its own rate: {fps:.3g} a second, as {width} x "
    "{height} pixels. A shorter span shows fast motion more finely."
)
START_S, END_S = "From (seconds)", "To (seconds)"
CAPTION = "Caption: what the clip shows, not how it moves"
CAPTION_HINT = "a red circle on a blue background"
VOCABULARY = "Words this base knows"
COLORS_KNOWN, SHAPES_KNOWN, BACKGROUNDS_KNOWN, OTHERS_KNOWN = (
    "Colors",
    "Shapes and figures",
    "Backgrounds",
    "Other words",
)
UNKNOWN_WORDS = "The base never learned {words}; it will ignore what it does not know."
MOTION_NAME = "Name of the motion"
MOTION_HINT = "my motion"
STORAGE = "The workspace should take what is saved, but does not ({reason}); free some space or choose another folder."
ADVANCED = "Advanced settings"
PREVIEW_PROMPT = "Preview prompt: rendered now and then while it learns (empty: the caption)"
PREVIEW_HINT = "a red star on a white background"
START, GO_RENDER = "Start", "Render with this motion"
PROGRESS = "Progress"
LOSS = "Loss"
PREVIEW = "Preview of the motion so far"
HEADS = "Attention heads: spatial and temporal"
READING_CLIP = "Reading the clip …"
IDLE_LEARN = "Choose a clip, then press Start."
SAVED = "Saved as “{name}”."
TOOK = "It took {needs}."
EXPECTED = "Expected: {needs}."
ESTIMATE = "Expected, by {jobs} of the jobs before: {needs}."
KEPT, WHILE_AT_IT = "{mb:.2f} MB kept on disk", " ({mb:.0f} MB while it works)"
PLANNED = "Expected, by the shapes: {needs}."
TIGHT = "That is more memory than this machine should have to spare; System says what fits."
NO_ROOM = "The disk has less room than that; delete something, or choose another --workspace."
NO_ESTIMATE = "How long it takes, the first job will tell."

# Render
MOTION = "Motion"
NO_MOTION = "(none: the bare base)"
MOTION_LABEL = "{name} ({made:.10})"
RENDER_LABEL = "{name}, seed {seed} ({made:.16})"
SEED_SHORT = "seed {seed}"
SHIPPED_MOTION = "{name} (comes with the program)"
SHIPPED = "comes with the program"
CONTROL_FACTS = "A control, learned from drawn clips, on the base {base}, rank {rank}, {made}."
MOTION_FACTS = "Learned from a clip of “{caption}” on the base {base}, rank {rank}, {made}."
NO_OTHER_MOTION = "(none)"
ADD_MOTION = "Add another motion"
READOUT = "{amount} {unit}"
UNITS = {
    "frame widths": "frame widths",
    "log scale": "in log scale",
    "degrees": "degrees",
    "frame widths a second": "frame widths a second",
}
METER_COLUMNS = ("Together", "Shared directions", "Alike", "Size ratio")
METER_CLEAR = "These motions hardly touch each other."
METER_CROWDED = "Some of these motions change the same weights the same way, and may get in each other's way."
RESOLVE = "Turn them apart"
NO_CAPTION = "unnamed content"
PROMPT = "Prompt: what the new video shows (several videos: one prompt a line)"
PROMPT_HINT = "a green star on a white background"
SEED = "Seed"
SEED_INFO = "-1 draws a new one each time"
RANDOM = "Random"
VIDEOS, VIDEOS_INFO = "Videos", "More than one have seeds in a row"
LATEST_RENDERS = "Latest results"
RENDER, DOWNLOAD = "Render", "Download as rendered"
PLAY_TOGETHER = "Play all from the start"
IMPORT = "Import a motion (.safetensors)"
IMPORTED = "“{name}” is in the library."
RESTORE = "Settings of a render (drop its mp4)"
RESTORED = "All settings are those of this render."
RESTORED_WITHOUT = (
    "All settings are those of this render, but its motion “{name}” is not in your library; import it first."
)
RENDERED_ELSEWHERE = (
    "this page renders with the base {here}, but the file was rendered on {asked}; open it where that is."
)
SHARE = "Share, or restore a render"
SHARE_NOTE = "A link carries prompt, seed and all settings, and which motion file they are for; not the file itself."
MAKE_LINK, LINK, CODE = "Make a link", "Link", "QR code of the link"
SEED_TO_SHARE = (
    "a link fixes the seed, but it is -1, which draws one; enter the seed that the line above the result tells."
)
OPENED = "### This link asks for"
OPENED_NOTE = "Nothing has been changed yet, and nothing is fetched or rendered."
USE_LINK, LEAVE_LINK = "Use these settings", "Leave it"
PROMPT_ASKED, CREDITS = "Prompt", "Credits"
OTHER_BASE = "this page renders with the base {here}, but it is for {asked}; open it where that base is."
TOO_MANY_MOTIONS = "this page mixes up to {most} motions, but {asked} are mixed here; open it with a newer version."
ONE_PROMPT = "a link and a preset hold one prompt, but {asked} are written here; leave one."
MOTION_FOUND = "{name}, which is in your library, at strength {strength:g}"
MOTION_MISSING = "{name} at strength {strength:g} (SHA-256 {sha256}…), which is not in your library: {get}"
GET_FILE = "ask who shared the link for the file, and import it below the list of motions first."
GET_FROM_HUB = "it is published as {hub}, and can be fetched from there."
FETCH = "Fetch the missing motion from the Hub"
FETCHED = "The motion is in your library now."
REFERENCE, RESULT = "Reference", "Result"
SCORES = "Scores"
IDLE_RENDER = "Choose a motion, write a prompt, then press Render."
RENDERED = "Done with seed {seed}."
NO_SCORES = "There is no reference clip to compare with, so nothing was measured."
SCORES_HEAD = ("Measure", "Value", "Better")
HIGHER, LOWER = "higher", "lower"
MISSING = "– ({why})"
MEASURES = {
    "motion_fidelity": "Motion: moves like the reference",
    "motion_fidelity_script": "Motion: the same by its authors' script",
    "trajectory_agreement": "Path: goes the way of the true path",
    "trajectory_error": "Path: distance from the true path",
    "joint_error": "Joints: angle from the true pose",
    "camera_error": "Camera: distance from the true camera",
    "residual_flow_error": "Objects: difference from the reference's own speed",
    "temporal_consistency": "Steady from frame to frame",
    "flicker": "Flicker",
    "text_match": "Fits the prompt",
    "frame_consistency": "Frames show the same",
    "color_right": "Color asked for",
    "shape_right": "Shape asked for",
    "object_present": "Object in view",
    "leakage": "Leak: shows the reference's content",
    "reference_similarity": "Looks like the reference",
}

# Long work
STAGES = {
    "open": "Opening the base",
    "encode": "Reading and encoding the clip",
    "judge": "Measuring the result",
    "heads": "Sorting attention heads",
    "spatial": "Spatial stage: the look",
    "temporal": "Temporal stage: the motion",
    "preview": "Rendering a preview",
    "check": "Measuring what is learned",
    "render": "Rendering",
}
STEP = "step {step} of {total}"
RATE = "{rate:.1f} steps a second"
PACE = "{seconds:.1f} seconds a step"
LEFT = "{left} left in this stage"
LEFT_IN_ALL = "about {left} left in all, by the estimate"
STEP_LOSS = "loss {loss:.3f}"
OPENING = "Beginning"
CLOCK_S, CLOCK_MIN, CLOCK_H = "{s} s", "{min} min {s:02d} s", "{h} h {min:02d} min"
GONE = "{gone} so far"
MEMORY = "{gb:.1f} GB of memory"
PAUSING, CANCELLING = "pausing after this step …", "cancelling after this step …"
WAITING = "Waiting; jobs before it: {ahead}."
NEXT = "Waiting for the worker to begin."
NO_WORKER = "No worker is at the jobs yet; one is being started. If this lasts, worker.log in the workspace says why."
PAUSED = "Paused at “{stage}”, step {step}; Continue goes on from there."
CANCELLED = "Cancelled; nothing was saved. Continue goes on from its last checkpoint."
PAUSED_RENDER = "Paused at “{stage}”, step {step}; Continue begins this render again."
CANCELLED_RENDER = "Cancelled; nothing was saved. Continue begins this render again."
PAUSE_JOB, CONTINUE_JOB, CANCEL_JOB = "Pause", "Continue", "Cancel"
FAULT = "the program made a mistake of its own ({kind}); its log shows the details."
NO_JOB = "a job is expected, but none is chosen; start one."

# Jobs
JOBS = "Jobs, in the order in which they are done; then the ended ones"
JOB_LABEL = "{title} · {kind} · {state} · {made}"
JOB_KINDS = {"tune": "learning", "render": "render"}
JOB_STATES = {
    "queued": "waiting",
    "running": "running",
    "paused": "paused",
    "done": "done",
    "failed": "failed",
    "cancelled": "cancelled",
}
NO_JOBS = "There is no job yet. Learn a motion, or render one."
WORKED, TRIES, PEAK = "Time worked", "Times begun", "Memory"
SHARES = "Share of the device's measured speed"
SPAN, FROM_TO, TO_THE_END = "Span", "{start} to {end}", "the end"
CROP_FACT = "zoom {zoom:g}, at {x:g} from the left and {y:g} from the top"
PREVIEW_ASKED = "Preview prompt"
MOTION_USED = "{name} at strength {strength:g}"
UP, DOWN, REMOVE, AGAIN = "Up", "Down", "Remove", "Order again"
REMOVE_DONE = "Remove all that are done"

# Library
SHELF, MOTIONS, RENDERS = "What to look for", "Motions", "Renders"
SEARCH, SEARCH_HINT = "Search", "words of a name, a caption or a prompt"
FOUND, EMPTY = "Newest first", "There is nothing here."
CHOSEN, COMPARED, COMPARE, NOTHING = "Chosen", "Compared", "Compare with a render", "(nothing)"
NAME, RENAME, TAKE_AWAY, DELETE = "Name", "Rename", "Download", "Delete"
CONVERT, TAKE_CONVERTED = "For ComfyUI …", "Download for ComfyUI"
ONLY_MOTIONS_CONVERT = "a motion can be written for ComfyUI, but a render is chosen; choose a motion."
UNDO = "Bring back “{name}”"
PUBLISH = "Publish this motion on the Hugging Face Hub"
PUBLISH_NOTE = "Its file and a card go into a repository of your account. The clip it was learned from stays here."
REPOSITORY, PRIVATE, PUBLISH_NOW = "Repository, as owner/name", "Only I can see it", "Publish"
PUBLISHED = "[{address}]({address}) holds it; presets name it `{hub}`."
ONLY_MOTIONS = "a motion can be published, but a render is chosen; choose a motion."
LOGGED_OUT = "If it is private, log in first: Library, Publish."
LOG_IN = "your own account of the Hub is expected, but you are not logged in; press the button beside this one first."
NO_ITEM = "a motion or a render is expected, but none is chosen; choose one from the list."
CAPTION_SHORT, FINGERPRINT, MADE, FILE = "Caption of its clip", "SHA-256", "Made", "File"
RECIPE = "How it was made"
CHECKUP, LAYOUT, RANK, BASE_UNKNOWN, BY_SHAPES = (
    "What the file holds",
    "Layout",
    "Rank",
    "unknown",
    "{base}, by its shapes",
)
HEADS_CHANGED, OF, LAYERS = "Self-attention heads it changes", "{some} of {all}", "Layers, × blocks"
BLOCK, BLOCKS_CHANGED = "block", "Change by block"
UNREAD, BEWARE = "Not read", "Beware"
SOME_UNREAD = "Not read, and without effect here: {count} of the keys of {name}, such as {first}."

# Presets
PRESETS, NO_PRESETS = "Presets", "There is no preset yet. Save one below."
SHIPPED_PRESET = "{name} (comes with the program)"
PRESET_NAME = "Name of the preset (empty: the prompt)"
LEARNING, AS_USUAL = "How to learn", "as usual"
WITH_LEARNING = "Also what the Learn tab is set to"
SAVE_PRESET_TITLE = "Save what the Mix tab is set to"
DESCRIPTION, SAVE_PRESET, IMPORT_PRESET = "Description", "Save as a preset", "Import a preset (.json)"
PRESET_SAVED = "“{name}” is among the presets."
PRESET_SHIPPED = "a preset of your own can be deleted, but {name} comes with the program; choose another."
NO_PRESET = "a preset is expected, but none is chosen; choose one from the list."

# System
MACHINE, BASE, LATEST, VERSIONS, REFRESH = "This machine", "Base", "What the latest jobs needed", "Versions", "Refresh"
SYSTEM, PROCESSOR, RAM, GPU, DISK = "System", "Processor", "Memory", "GPU", "Disk"
CORES, NO_GPU = "{name}, {cores} cores", "none: everything runs on the processor"
FREE_OF, FREE = "{free:.1f} GB free of {whole:.1f} GB", "{free:.1f} GB free"
FORMAT, PRECISION, SIZE = "Format", "Precision of its weights", "On disk"
FORMAT_FACTS, MEGABYTES = "{width} x {height} pixels, {frames} frames", "{size:.0f} MB"
FIT_TIMES = "; learning takes about {learning}, a render {rendering}"
FITS, FIT = "What fits", "learning {learning:.1f} GB, rendering {rendering:.1f} GB: {how}"
FITTING = {
    "none": "fits",
    "alternate": "fits, with every second block computed twice",
    "all": "fits, with blocks computed twice",
    "visiting": "fits, with weights visiting the GPU block by block",
}
NOT_FITTING, FITS_SLOWLY = "doesn't fit", "Without a GPU, learning on Wan2.1 takes days even where it fits."
NEEDED = "{kind}: {time}, {gb:.1f} GB of memory at most"

# What is wrong with the input
UNKNOWN_SETTING = "settings are {known}, but {name} is none of them; choose among them."
STRENGTH_OF = "strength of {key}"
NO_MOTIONS = "at most {most} motions are expected as strengths by key, but are {motions}; send a JSON object."
NO_SETTINGS = "settings are expected by name, as in a JSON object, but are {settings}; write them so or leave them out."
NO_TEXT = "{name} should be a text of at most {most} letters, but is {text}; shorten it or write one."
NO_NUMBER = "{name} should be a number, but is {number}; write one."
NOT_DONE = "a job that is done has a result, but this one is {state}; wait for it, or begin it again."
STILL_READING = "the clip is still being read; press Start again in a moment."
ORDERED_ALREADY = "That was ordered a moment ago; press again to order it once more."
NO_CLIP = "a reference clip is expected, but none is chosen; upload one or click an example."
MOTION_GONE = "the motion that was used here is gone from the library; choose another, or bring it back."
CHOOSE_MOTION = "a motion is expected, but none is chosen; choose one from the list, or the bare base."
NO_PROMPT = "a prompt is expected, but there is none; write what the new video shows."
BAD_NUMBER = "{name} must be a number, but is empty; enter one."
BAD_VIDEOS = "1 to {most} videos can be ordered at once, but the number asked for is {videos}; choose fewer."
ASKED_VIDEOS = "{prompts} x {videos:g}"
BAD_SEED = "a seed must be -1 or a whole number up to {high}, but is {seed}; choose one of them."

# Settings are explained where they are declared, in English.
KNOBS: dict[str, tuple[str, str]] = {}
