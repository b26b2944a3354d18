#pragma once

#include "attune/training/trainer.h"

namespace attune {

/// Runs the stages of a learner that draws no features but samples by number, such as a search on a frozen task: the
/// batches of an epoch are `samples` in an order keyed by (seed, epoch), or those of the run's order. Writes what
/// train() writes (checkpoints, metrics.jsonl, events); a run that was stopped or killed and resumed ends with the same
/// bits.
TrainOutcome run_search(Learner& learner, const Stages& stages, std::int64_t samples, const TrainRun& run);

}  // namespace attune
