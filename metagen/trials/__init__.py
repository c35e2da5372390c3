"""Small trainings of a package's own code, of which none runs twice.

============  ==================================================================
trial         what is trained: settings of the proxy, its steps and its seed
outcome       what a training showed: losses, counts, data and cost
counted       the training of a trial, which first counts its model on `meta`
run           a trial to its outcome, by a training or from a cache
============  ==================================================================
"""

from metagen.trials.outcome import Outcome, Point
from metagen.trials.run import Watch, cache_in, counts, run
from metagen.trials.trial import Trial, package_of

__all__ = ["Outcome", "Point", "Trial", "Watch", "cache_in", "counts", "package_of", "run"]
