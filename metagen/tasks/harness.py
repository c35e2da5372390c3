"""Published benchmarks of language models, by the names under which lm-eval runs them.

Source: EleutherAI/lm-evaluation-harness, release 0.4.13, folder lm_eval/tasks.
"""

from __future__ import annotations

from collections.abc import Iterable

# A benchmark's name in lower case, letters and digits alone, is most often the task's name too.
TASKS = {
    **{
        name.replace("_", ""): name
        for name in (
            *("arc_challenge", "arc_easy", "hellaswag", "winogrande", "piqa", "boolq", "swag"),
            *("openbookqa", "commonsense_qa", "social_iqa", "sciq", "race", "coqa", "triviaqa"),
            *("mmlu", "mmlu_pro", "agieval", "bbh", "drop", "anli", "glue", "sst2", "copa", "rte"),
            *("gsm8k", "asdiv", "mathqa", "humaneval", "mbpp", "ifeval", "eq_bench", "ruler"),
            *("longbench", "babilong", "wikitext", "blimp", "toxigen", "bbq", "wmdp", "belebele"),
            *("pubmedqa", "medmcqa", "headqa", "cmmlu", "kmmlu", "xnli", "xcopa", "xwinograd"),
            *("squadv2", "nq_open", "logiqa", "truthfulqa", "minerva_math", "leaderboard"),
        )
    },
    "arc": "arc_easy,arc_challenge",
    "arcc": "arc_challenge",
    "arce": "arc_easy",
    "bigbenchhard": "bbh",
    "commonsenseqa": "commonsense_qa",
    "gpqa": "gpqa_main_zeroshot",
    "gpqadiamond": "gpqa_diamond_zeroshot",
    "lambada": "lambada_openai",
    "math": "minerva_math",
    "math500": "hendrycks_math500",
    "medqa": "medqa_4options",
    "naturalquestions": "nq_open",
    "obqa": "openbookqa",
    "openllmleaderboard": "leaderboard",
    "siqa": "social_iqa",
    "socialiqa": "social_iqa",
    "squad": "squadv2",
    "wikitext2": "wikitext",
}


def task_of(benchmark: str) -> str | None:
    """Return lm-eval's task for a benchmark, several with commas; None for an unknown one."""
    return TASKS.get("".join(letter for letter in benchmark.lower() if letter.isalnum()))


def command(benchmarks: Iterable[str]) -> str:
    """Return the command that runs the benchmarks with a task on the full model; "" for none."""
    tasks = dict.fromkeys(filter(None, map(task_of, benchmarks)))
    place = "--model hf --model_args pretrained=full_run/checkpoint"
    return f"lm_eval run {place} --tasks {','.join(tasks)}" if tasks else ""
