"""What a training run left, checked against the package: the model, its curve and its results.

Every file of it exists in every package; without a training run it says that there is none.

============  ====================================================================
door          JSON of strangers, and the fields of its objects
header        the tensors of a .safetensors file, by its header
weights       the tensors of a checkpoint, and the digest of weights
identity      settings of a checkpoint that must be the package's, or may differ
log           metrics.jsonl, and the curve of documents
run           run.json: the starts of train.py, and what they say together
model         trained/model.json and trained/curve.csv
metrics       metrics by the names of harnesses
found         a result of a file, of which model it may be, and its entry
readers       the forms of result files, a module each
results       trained/results.json
forecast      trained/forecast.json: what a ladder forecast, and the verdicts on targets
plan          trained/plan.json: the plan of the training beside the training
checkpoint    scripts of the package that run on the bound checkpoint
samples       trained/samples.json: what the model answers to its demonstration
bench         trained/bench.json: how fast the model is on one thread of this machine
============  ====================================================================
"""

from metagen import families
from metagen.families.family import Family
from metagen.measure.probe import TENSORS
from metagen.measure.results import FULL_CURVE, FULL_MODEL, FULL_RESULTS
from metagen.package.code import SCRIPTS, runtime_files
from metagen.sizing.verdicts import FORECAST
from metagen.trained import bench, checkpoint, forecast, model, plan, results, samples
from metagen.work import Recipe


def recipes(family: Family) -> tuple[Recipe, ...]:
    """Return the tasks that take in a training run of a family's full model."""
    planned = (families.ARCHITECTURE, TENSORS, model.GRAPH)
    code = (*SCRIPTS, *runtime_files(family))
    loaded = tuple(dict.fromkeys((families.ARCHITECTURE, FULL_MODEL, *checkpoint.files(family))))
    return (
        Recipe(
            "trained:model",
            model.model,
            (*planned, *code),
            (FULL_MODEL, FULL_CURVE),
            "check the bound training run, and say what it holds",
        ),
        Recipe(
            "trained:results",
            results.results,
            (families.ARCHITECTURE, results.PARAMS, FULL_MODEL, *code),
            (FULL_RESULTS,),
            "list the results of the full model",
        ),
        Recipe(
            "trained:forecast",
            forecast.forecast,
            (families.ARCHITECTURE, FULL_MODEL, FULL_RESULTS),
            (FORECAST,),
            "list the forecast of a ladder, and judge the targets",
        ),
        Recipe(
            "trained:plan",
            plan.compared,
            plan.INPUTS,
            (plan.TARGET,),
            "compare the training with its plan",
        ),
        Recipe(
            "trained:samples",
            samples.samples,
            loaded,
            (samples.TARGET,),
            "show what the trained model answers",
        ),
        Recipe(
            "trained:bench",
            bench.bench,
            loaded,
            (bench.TARGET,),
            "measure the speed of the trained model",
        ),
    )
