"""Everything the page says, in simplified Chinese; names and placeholders are those of `en`."""

from __future__ import annotations

TITLE = "动作迁移"
INTRO = "学习一段短片的动作，再把它渲染到新的内容上。"
BASE_NOTES = {
    "nano": (
        "**nano** 是用于教学和测试的小模型。它只认识由彩色形状和彩色背景组成的玩具世界；真实视频需要 Wan2.1 和显卡。"
    ),
    "wan2.1-1.3b-fast": (
        "**FastWan2.1** 是蒸馏到三步的 Wan2.1-1.3B，训练时使用稀疏注意力（VSA）。"
        "这里用完整注意力渲染，且不使用其粗粒度注意力的门控：细节可能与 FastVideo 自己的渲染不同。"
    ),
}
BASE_NOTE = "基础模型：**{name}**，{width} x {height}，{frames} 帧。"
DISTILLED = "它是蒸馏模型：用 {steps} 步渲染，不用引导。"
DISTILLED_LEARNING = (
    "**此基础模型经过蒸馏，不适合用来学习：** 学习会比较所有噪声水平上的速度，而蒸馏模型只熟悉其中几个。"
    "学到的动作可能偏弱；请在未蒸馏的基础模型上学习。"
)
MISFITS = {
    "steps": "**设置了 {asked} 步，但此基础模型是为 {wanted} 步蒸馏的。**",
    "guidance": "**引导设为 {asked}，但蒸馏模型的权重里包含引导；{wanted} 适合它。**",
    "flow_shift": "**设置的噪声偏移为 {asked}，但此基础模型是为 {wanted} 蒸馏的。**",
}

LEARN_TAB, MIX_TAB, JOBS_TAB = "学习", "混合", "任务"
LIBRARY_TAB, PRESETS_TAB, SYSTEM_TAB = "资料库", "预设", "系统"

# The guided first run
TOUR = "第一次来？"
TOUR_CHOOSE = "在“学习”页上传一段短片或点击示例，然后按“开始”。"
TOUR_WAIT = "正在学习它的动作。可以关闭本页，工作会继续。"
TOUR_PROMPT = "在“混合”页选择动作，写出新视频里有什么，然后按“渲染”。"
TOUR_BEGIN, TOUR_HIDE = "替我学习一个示例", "隐藏"

# Learn
UPLOAD = "参考视频（mp4、mov、webm、mkv、avi 或 gif）"
EXAMPLES = "或者从示例开始"
SPAN_SHOWN = "将要学习的片段"
STRIP = "整段视频；点击片段开始或结束的位置"
CUTS = "**画面似乎在 {times} 处切换。** 动作应从一个镜头中学习：请在切换点之间选取片段。"
MOVEMENT = "学习谁的运动"
BAD_MOVEMENT = "运动应为 {all} 之一，但得到的是 {asked:.40}；请选择其一。"
MOVEMENT_ALL = "全部运动"
MOVEMENT_CAMERA = "仅镜头的运动（物体静止）"
MOVEMENT_THINGS = "仅物体的运动（镜头静止）"
CROP, CROP_SHOWN = "裁剪", "将要学习的画面部分"
ZOOM, CROP_X, CROP_Y = "缩放", "从左到右", "从上到下"
FACTS = "{width} x {height} 像素，每秒 {fps:.3g} 帧，长 **{seconds:.2f} 秒**。最多使用 {limit:g} 秒。"
FRAME_RULE = (
    "无论原帧率多少，都从片段中均匀取 {frames} 帧学习：每秒 {fps:.3g} 帧，{width} x {height} 像素。"
    "片段越短，快速动作越细致。"
)
START_S, END_S = "从（秒）", "到（秒）"
CAPTION = "描述：视频里有什么，而不是怎样运动"
CAPTION_HINT = "a red circle on a blue background"
VOCABULARY = "此模型认识的词"
COLORS_KNOWN, SHAPES_KNOWN, BACKGROUNDS_KNOWN, OTHERS_KNOWN = "颜色", "形状与人物", "背景", "其他词"
UNKNOWN_WORDS = "模型没有学过 {words}；它会忽略不认识的词。"
MOTION_NAME = "动作名称"
MOTION_HINT = "我的动作"
STORAGE = "工作区应当保存文件，但没有成功（{reason}）；请腾出空间或换一个文件夹。"
ADVANCED = "高级设置"
PREVIEW_PROMPT = "预览提示词：学习时不时渲染一次（留空则用描述）"
PREVIEW_HINT = "a red star on a white background"
START, GO_RENDER = "开始", "用这个动作渲染"
PROGRESS = "进度"
LOSS = "损失"
PREVIEW = "目前动作的预览"
HEADS = "注意力头：空间与时间"
READING_CLIP = "正在读取视频……"
IDLE_LEARN = "选择视频，然后按“开始”。"
SAVED = "已保存为“{name}”。"
TOOK = "用了 {needs}。"
EXPECTED = "预计为 {needs}。"
ESTIMATE = "预计（依据之前 {jobs} 个任务）：{needs}。"
KEPT, WHILE_AT_IT = "磁盘保留 {mb:.2f} MB", "（工作时占用 {mb:.0f} MB）"
PLANNED = "预计（依据模型尺寸）：{needs}。"
TIGHT = "这超出了本机可用的内存；“系统”页说明能容纳什么。"
NO_ROOM = "磁盘剩余空间不足；请删除一些内容，或选择另一个 --workspace。"
NO_ESTIMATE = "需要多久，第一个任务会告诉你。"

# Render
MOTION = "动作"
NO_MOTION = "（无：仅基础模型）"
MOTION_LABEL = "{name}（{made:.10}）"
RENDER_LABEL = "{name}，种子 {seed}（{made:.16}）"
SEED_SHORT = "种子 {seed}"
SHIPPED_MOTION = "{name}（程序自带）"
SHIPPED = "程序自带"
CONTROL_FACTS = "控制滑块，学自绘制的片段，基础模型 {base}，秩 {rank}，{made}。"
MOTION_FACTS = "学自“{caption}”的视频，基础模型 {base}，秩 {rank}，{made}。"
NO_OTHER_MOTION = "（无）"
ADD_MOTION = "再加一个动作"
READOUT = "{amount} {unit}"
UNITS = {
    "frame widths": "个画面宽",
    "log scale": "（对数缩放）",
    "degrees": "度",
    "frame widths a second": "个画面宽/秒",
}
METER_COLUMNS = ("一起使用", "共同方向", "相似度", "大小之比")
METER_CLEAR = "这些动作几乎互不影响。"
METER_CROWDED = "其中有些动作以相同方式改变相同的权重，可能互相干扰。"
RESOLVE = "让它们分开"
NO_CAPTION = "未命名内容"
PROMPT = "提示词：新视频里有什么（多个视频：每行一个提示词）"
PROMPT_HINT = "a green star on a white background"
SEED = "种子"
SEED_INFO = "-1 表示每次随机"
RANDOM = "随机"
VIDEOS, VIDEOS_INFO = "视频数", "多个视频的种子依次加一"
LATEST_RENDERS = "最近的结果"
RENDER, DOWNLOAD = "渲染", "下载原始结果"
PLAY_TOGETHER = "全部从头播放"
IMPORT = "导入动作（.safetensors）"
IMPORTED = "“{name}”已在资料库中。"
RESTORE = "读取渲染结果的设置（拖入它的 mp4）"
RESTORED = "所有设置都已恢复为这个渲染结果的设置。"
RESTORED_WITHOUT = "所有设置都已恢复，但它的动作“{name}”不在你的资料库中；请先导入。"
RENDERED_ELSEWHERE = "本页使用基础模型 {here}，但该文件是用 {asked} 渲染的；请在那里打开。"
SHARE = "分享，或恢复渲染设置"
SHARE_NOTE = "链接包含提示词、种子和所有设置，以及所用的动作文件是哪一个；不包含文件本身。"
MAKE_LINK, LINK, CODE = "生成链接", "链接", "链接的二维码"
SEED_TO_SHARE = "链接要固定种子，但现在是 -1（随机）；请填入结果上方显示的种子。"
OPENED = "### 这个链接要求"
OPENED_NOTE = "尚未更改任何设置，也没有下载或渲染任何东西。"
USE_LINK, LEAVE_LINK = "使用这些设置", "不使用"
PROMPT_ASKED, CREDITS = "提示词", "致谢"
OTHER_BASE = "本页使用基础模型 {here}，但它需要 {asked}；请在有该模型的地方打开。"
TOO_MANY_MOTIONS = "本页最多混合 {most} 个动作，但这里混合了 {asked} 个；请用更新的版本打开。"
ONE_PROMPT = "链接和预设只能有一个提示词，但这里写了 {asked} 个；请只留一个。"
MOTION_FOUND = "{name}，在你的资料库中，强度 {strength:g}"
MOTION_MISSING = "{name}，强度 {strength:g}（SHA-256 {sha256}…），不在你的资料库中：{get}"
GET_FILE = "请向分享者索取文件，并先在动作列表下方导入。"
GET_FROM_HUB = "它发布在 {hub}，可以从那里下载。"
FETCH = "从 Hub 下载缺少的动作"
FETCHED = "动作已在你的资料库中。"
REFERENCE, RESULT = "参考", "结果"
SCORES = "评分"
IDLE_RENDER = "选择动作，写提示词，然后按“渲染”。"
RENDERED = "完成，种子 {seed}。"
NO_SCORES = "没有可以比较的参考视频，所以没有测量。"
SCORES_HEAD = ("指标", "数值", "更好")
HIGHER, LOWER = "更高", "更低"
MISSING = "–（{why}）"
MEASURES = {
    "motion_fidelity": "动作：与参考一致的程度",
    "motion_fidelity_script": "动作：按原作者脚本计算",
    "trajectory_agreement": "路径：与真实路径同向",
    "trajectory_error": "路径：与真实路径的距离",
    "joint_error": "关节：与真实姿势的角度差",
    "camera_error": "镜头：与真实镜头的距离",
    "residual_flow_error": "物体：与参考自身速度之差",
    "temporal_consistency": "帧间稳定",
    "flicker": "闪烁",
    "text_match": "符合提示词",
    "frame_consistency": "各帧内容一致",
    "color_right": "颜色符合要求",
    "shape_right": "形状符合要求",
    "object_present": "物体在画面中",
    "leakage": "泄漏：出现了参考的内容",
    "reference_similarity": "看起来像参考",
}

# Long work
STAGES = {
    "open": "打开基础模型",
    "encode": "读取并编码视频",
    "judge": "测量结果",
    "heads": "划分注意力头",
    "spatial": "空间阶段：外观",
    "temporal": "时间阶段：动作",
    "preview": "渲染预览",
    "check": "测量学到的动作",
    "render": "渲染",
}
STEP = "第 {step} 步，共 {total} 步"
RATE = "每秒 {rate:.1f} 步"
PACE = "每步 {seconds:.1f} 秒"
LEFT = "本阶段还需 {left}"
LEFT_IN_ALL = "预计共还需约 {left}"
STEP_LOSS = "损失 {loss:.3f}"
OPENING = "正在开始"
CLOCK_S, CLOCK_MIN, CLOCK_H = "{s} 秒", "{min} 分 {s:02d} 秒", "{h} 小时 {min:02d} 分"
GONE = "已用 {gone}"
MEMORY = "内存 {gb:.1f} GB"
PAUSING, CANCELLING = "这一步之后暂停 …", "这一步之后取消 …"
WAITING = "前面还有 {ahead} 个任务。"
NEXT = "等待工作进程开始。"
NO_WORKER = "还没有工作进程，正在启动。如果一直这样，请看工作区里的 worker.log。"
PAUSED = "已在“{stage}”第 {step} 步暂停；按“继续”从那里接着做。"
CANCELLED = "已取消；没有保存任何东西。按“继续”从最近的检查点接着做。"
PAUSED_RENDER = "已在“{stage}”第 {step} 步暂停；按“继续”重新渲染。"
CANCELLED_RENDER = "已取消，没有保存任何内容。按“继续”重新渲染。"
PAUSE_JOB, CONTINUE_JOB, CANCEL_JOB = "暂停", "继续", "取消"
FAULT = "程序自身出错（{kind}）；详情见日志。"
NO_JOB = "需要一个任务，但没有选中；请先开始一个。"

# Jobs
JOBS = "任务，按执行顺序；之后是已结束的任务"
JOB_LABEL = "{title} · {kind} · {state} · {made}"
JOB_KINDS = {"tune": "学习", "render": "渲染"}
JOB_STATES = {
    "queued": "等待",
    "running": "运行中",
    "paused": "已暂停",
    "done": "完成",
    "failed": "失败",
    "cancelled": "已取消",
}
NO_JOBS = "还没有任务。学习一个动作，或渲染一个视频。"
WORKED, TRIES, PEAK = "工作时间", "开始次数", "内存"
SHARES = "占设备实测算力的比例"
SPAN, FROM_TO, TO_THE_END = "片段", "{start} 到 {end}", "结尾"
CROP_FACT = "缩放 {zoom:g}，距左 {x:g}，距上 {y:g}"
PREVIEW_ASKED = "预览提示词"
MOTION_USED = "{name}，强度 {strength:g}"
UP, DOWN, REMOVE, AGAIN = "上移", "下移", "移除", "再次下单"
REMOVE_DONE = "移除所有已完成的任务"

# Library
SHELF, MOTIONS, RENDERS = "查找什么", "动作", "渲染结果"
SEARCH, SEARCH_HINT = "搜索", "名称、描述或提示词中的词"
FOUND, EMPTY = "最新的在前", "这里什么也没有。"
CHOSEN, COMPARED, COMPARE, NOTHING = "选中", "对比", "与另一个渲染结果对比", "（无）"
NAME, RENAME, TAKE_AWAY, DELETE = "名称", "重命名", "下载", "删除"
CONVERT, TAKE_CONVERTED = "转为 ComfyUI 格式…", "下载 ComfyUI 格式"
ONLY_MOTIONS_CONVERT = "只能把动作转为 ComfyUI 格式，但选中的是渲染结果；请选择动作。"
UNDO = "恢复“{name}”"
PUBLISH = "把这个动作发布到 Hugging Face Hub"
PUBLISH_NOTE = "它的文件和说明卡会放进你账户的仓库。学习所用的视频留在这里。"
REPOSITORY, PRIVATE, PUBLISH_NOW = "仓库，写作 owner/name", "只有我能看到", "发布"
PUBLISHED = "已发布在 [{address}]({address})；预设中写作 `{hub}`。"
ONLY_MOTIONS = "只能发布动作，但选中的是渲染结果；请选择动作。"
LOGGED_OUT = "如果它是私有的，请先登录：“资料库”页，“发布”。"
LOG_IN = "需要你自己的 Hub 账户，但你尚未登录；请先按旁边的按钮。"
NO_ITEM = "需要一个动作或渲染结果，但没有选中；请从列表中选择。"
CAPTION_SHORT, FINGERPRINT, MADE, FILE = "视频描述", "SHA-256", "制作时间", "文件"
RECIPE = "制作方法"
CHECKUP, LAYOUT, RANK, BASE_UNKNOWN, BY_SHAPES = "文件内容", "布局", "秩", "未知", "{base}（据形状推测）"
HEADS_CHANGED, OF, LAYERS = "所改变的自注意力头", "{all} 个中的 {some} 个", "层 × 块数"
BLOCK, BLOCKS_CHANGED = "块", "各块的改变量"
UNREAD, BEWARE = "未读取", "注意"
SOME_UNREAD = "未读取且在这里不起作用：{name} 的键中有 {count} 个，例如 {first}。"

# Presets
PRESETS, NO_PRESETS = "预设", "还没有预设。请在下方保存一个。"
SHIPPED_PRESET = "{name}（程序自带）"
PRESET_NAME = "预设名称（留空则用提示词）"
LEARNING, AS_USUAL = "怎样学习", "默认"
WITH_LEARNING = "同时保存“学习”页的设置"
SAVE_PRESET_TITLE = "保存“混合”页的当前设置"
DESCRIPTION, SAVE_PRESET, IMPORT_PRESET = "说明", "保存为预设", "导入预设（.json）"
PRESET_SAVED = "“{name}”已加入预设。"
PRESET_SHIPPED = "只能删除你自己的预设，而 {name} 是程序自带的；请选择别的。"
NO_PRESET = "需要一个预设，但没有选中；请从列表中选择。"

# System
MACHINE, BASE, LATEST, VERSIONS, REFRESH = "本机", "基础模型", "最近任务的需求", "版本", "刷新"
SYSTEM, PROCESSOR, RAM, GPU, DISK = "系统", "处理器", "内存", "显卡", "磁盘"
CORES, NO_GPU = "{name}，{cores} 核", "无：全部在处理器上运行"
FREE_OF, FREE = "{whole:.1f} GB 中空闲 {free:.1f} GB", "空闲 {free:.1f} GB"
FORMAT, PRECISION, SIZE = "格式", "权重精度", "磁盘占用"
FORMAT_FACTS, MEGABYTES = "{width} x {height} 像素，{frames} 帧", "{size:.0f} MB"
FIT_TIMES = "；学习约需 {learning}，渲染约需 {rendering}"
FITS, FIT = "能容纳的模型", "学习 {learning:.1f} GB，渲染 {rendering:.1f} GB：{how}"
FITTING = {
    "none": "可以容纳",
    "alternate": "可以容纳，每隔一块重算一次",
    "all": "可以容纳，各块重算一次",
    "visiting": "可以容纳，权重逐块进入 GPU",
}
NOT_FITTING, FITS_SLOWLY = "容纳不下", "没有 GPU 时，即使容纳得下，在 Wan2.1 上学习也需要数天。"
NEEDED = "{kind}：{time}，内存最多 {gb:.1f} GB"

# What is wrong with the input
UNKNOWN_SETTING = "设置有 {known}，但 {name} 不在其中；请从中选择。"
STRENGTH_OF = "{key} 的强度"
NO_MOTIONS = "需要以键为名的强度，最多 {most} 个动作，但收到 {motions}；请发送 JSON 对象。"
NO_SETTINGS = "设置应按名称给出，如 JSON 对象，但得到 {settings}；请这样写或省略。"
NO_TEXT = "{name} 应是最多 {most} 个字符的文本，但得到 {text}；请缩短或填写。"
NO_NUMBER = "{name} 应是数字，但得到 {number}；请填写数字。"
NOT_DONE = "完成的任务才有结果，但这个任务{state}；请等待或重新开始。"
STILL_READING = "视频仍在读取中；请稍后再按“开始”。"
ORDERED_ALREADY = "刚刚已经下单；再按一次会再做一遍。"
NO_CLIP = "需要参考视频，但没有选择；请上传或点击示例。"
MOTION_GONE = "这里使用的动作已不在资料库中；请选择别的，或恢复它。"
CHOOSE_MOTION = "需要一个动作，但没有选中；请从列表中选择，或选择仅基础模型。"
NO_PROMPT = "需要提示词，但没有填写；请写出新视频里有什么。"
BAD_NUMBER = "{name} 应是数字，但是空的；请填写。"
BAD_VIDEOS = "一次可以下单 1 到 {most} 个视频，但要求的是 {videos}；请减少。"
ASKED_VIDEOS = "{prompts} x {videos:g}"
BAD_SEED = "种子应为 -1 或不大于 {high} 的整数，但是 {seed}；请改正。"

# Settings: label and explanation
KNOBS: dict[str, tuple[str, str]] = {
    "caption": ("描述", "参考视频里有什么；不确定就留空。"),
    "seed": ("种子", "随机数的种子。"),
    "spatial_steps": ("空间步数", "空间阶段的步数，在单帧上学习。"),
    "temporal_steps": ("时间步数", "时间阶段的步数，在（稀疏的）视频上学习。"),
    "check_every": (
        "检查间隔",
        "每隔多少步用短渲染测量学到了多少动作；不再增加时结束学习。0 表示不检查，做完全部步数。",
    ),
    "rank": ("秩", "LoRA 的秩。"),
    "spatial_rate": ("空间学习率", "空间阶段的学习率。"),
    "temporal_rate": ("时间学习率", "时间阶段的学习率。"),
    "spatial_decay": ("空间权重衰减", "空间阶段的权重衰减。"),
    "temporal_decay": ("时间权重衰减", "时间阶段的权重衰减。"),
    "up_rate_ratio": ("up 矩阵学习倍率", "从零开始的 up 矩阵学得快多少倍（LoRA+）。"),
    "lowest_noise": ("最低噪声", "不在低于此的噪声水平上学习：渲染时运动只在更高处起作用。"),
    "gradient_draws": ("梯度起点的抽样数", "用多少次加噪的梯度决定 LoRA 从哪些方向开始；0 表示随机方向。"),
    "spatial_batch": ("空间批量", "每个空间步的单帧数。"),
    "temporal_batch": ("时间批量", "每个时间步对视频加噪的次数。"),
    "spatial_drop": ("空间丢弃", "不带空间 LoRA 学习的时间步比例；渲染时也不带它。"),
    "head_rule": ("注意力头规则", "怎样把注意力头分为空间与时间。"),
    "decoupled": ("解耦", "外观与动作由不同的头学习；关闭则每个头都学。"),
    "include_output": ("包括输出投影", "除查询、键、值外，输出投影也学习。"),
    "motion_loss": ("动作损失", "去噪损失之外的动作损失。"),
    "motion_space": ("动作空间", "动作损失比较的对象：速度，或由速度得出的干净片段。"),
    "motion_weight": ("动作损失权重", "动作损失相对于去噪损失的权重。"),
    "sampling": ("稀疏采样", "在像素帧还是潜在帧上抽稀。"),
    "sparse_latents": ("稀疏潜在帧数", "时间阶段使用的潜在帧数；0 由模型决定。"),
    "positions": ("位置", "稀疏帧的旋转位置编码。"),
    "noise_shift": ("噪声偏移", "训练噪声水平向高噪声的偏移。"),
    "caption_drop": ("描述丢弃", "描述被留空的步数比例。"),
    "slow_share": (
        "慢放占比",
        "时间样本中把视频放慢或静止的比例，使动作强度能均匀地降到静止；0 表示与别处一样由强度缩放 LoRA。",
    ),
    "loss_weighting": ("损失加权", "各噪声水平的损失权重。"),
    "keep": ("保留", "保存哪个阶段的 LoRA。"),
    "inference_weight": ("推理权重", "写入 LoRA 文件的系数。"),
    "prompt": ("提示词", "新视频里有什么。"),
    "negative_prompt": ("反向提示词", "不应出现的内容。"),
    "steps": ("步数", "去噪步数。"),
    "guidance": ("引导", "低噪声时的无分类器引导强度；1 为关闭。"),
    "flow_shift": ("噪声偏移", "噪声水平向高噪声的偏移。"),
    "strength": ("强度", "动作强度；1 是参考自身的动作。"),
    "early_guidance": ("早期引导", "噪声较高、物体确定位置时的引导强度。"),
    "guidance_smoothing": ("引导平滑", "早期引导所加的部分在相邻潜在帧之间平均多少遍；0 表示不平均。"),
    "motion_until": ("动作截止", "动作与早期引导起作用直到这一噪声水平；更低处只由模型完成外观。"),
    "mix": ("混合方式", "多个动作如何合在一起：直接相加；先调到同样大小；或先转开方向，使它们互不妨碍。"),
    "schedule": (
        "先后",
        "混合中的控制与学到的动作何时起作用：一直同时；或一类在物体确定位置时、另一类在物体成形时。",
    ),
    "late_strength": (
        "后期强度",
        "噪声水平低于 0.86、物体成形时动作强度的比例：越大动作越精细，越小越符合提示词要求的形状。",
    ),
}
