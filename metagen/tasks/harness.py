"""Published benchmarks of language models, by the names under which harnesses run them.

Sources: EleutherAI/lm-evaluation-harness, release 0.4.13, folder lm_eval/tasks; for the other
names, huggingface/lighteval, src/lighteval/tasks, and UKGovernmentBEIS/inspect_evals, whose tasks
may carry the number of examples in the prompt.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

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

_TASKS = {"".join(filter(str.isalnum, name)): name for name in TASKS.values() if "," not in name}
# Names of other harnesses, in lower case, letters and digits alone, whose task has another name.
_ELSEWHERE = {
    "mmlu0shot": "mmlu",
    "mmlu5shot": "mmlu",
    "hendryckstest": "mmlu",
    "truthfulqamc": "truthfulqa",
    "truthfulqamc1": "truthfulqa",
    "truthfulqamc2": "truthfulqa",
    "arcchallenge": "arc_challenge",
    "arceasy": "arc_easy",
    "squad": "squadv2",
    "squadv2": "squadv2",
    "ifeval": "ifeval",
    "lambadaopenai": "lambada_openai",
    "lambadastandard": "lambada_standard",
    "math500": "hendrycks_math500",
    "math": "minerva_math",
    "gpqadiamond": "gpqa_diamond_zeroshot",
}


def canonical(task: str) -> str:
    """Return the one name of a task of any harness: lm-eval's, or its letters and digits alone."""
    plain = _plain(task.rpartition("/")[2])
    return _ELSEWHERE.get(plain) or TASKS.get(plain) or _TASKS.get(plain, plain)


def declared(benchmarks: Sequence[str], task: str) -> str:
    """Return the declared benchmark that a task is of, or else the task itself.

    A benchmark of several tasks, such as ARC, keeps the name of each behind its own.
    """
    for benchmark in benchmarks:
        names = _names(benchmark)
        if canonical(task) in names:
            return benchmark if len(names) == 1 else f"{benchmark}: {task}"
    return task


def missing(benchmarks: Sequence[str], tasks: Iterable[str]) -> list[str]:
    """Return the declared benchmarks of which a task has no result."""
    found = {canonical(task) for task in tasks}
    return [each for each in benchmarks if not _names(each) <= found]


def _names(benchmark: str) -> set[str]:
    return {canonical(part) for part in (task_of(benchmark) or benchmark).split(",")}


def _plain(name: str) -> str:
    return "".join(letter for letter in name.lower() if letter.isalnum())


def task_of(benchmark: str) -> str | None:
    """Return lm-eval's task for a benchmark, several with commas; None for an unknown one."""
    return TASKS.get(_plain(benchmark))


def command(benchmarks: Iterable[str]) -> str:
    """Return the command that runs the benchmarks with a task on the full model; "" for none."""
    tasks = dict.fromkeys(filter(None, map(task_of, benchmarks)))
    place = "--model hf --model_args pretrained=full_run/checkpoint"
    return f"lm_eval run {place} --tasks {','.join(tasks)}" if tasks else ""
