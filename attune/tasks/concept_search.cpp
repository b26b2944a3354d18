#include "attune/tasks/concept_search.h"

#include "attune/base/error.h"

namespace attune {

ConceptSearch::ConceptSearch(const Tensor& start, const OptimSettings& settings, Task* task)
    : embeddings_(start.detach().clone().requires_grad_(true)), settings_(settings), task_(task) {}

Stages ConceptSearch::stages(const TrainingData&) {
  if (task_ == nullptr) throw Error("concept search: expected a task to search for, found none");
  Stages stages;
  stages.push_back(make_descent_stage(
      {"cones", settings_, {{{{"embeddings", embeddings_}}}}, [this](const Batch& batch, std::int64_t) {
         return task_->loss(embeddings_, batch.samples);
       }}));
  return stages;
}

void ConceptSearch::load_state(const TensorMap& state) {
  copy_state(state, this->state(), "concept search");
}

Tensor random_concepts(std::int64_t concepts, std::int64_t width, std::uint64_t seed) {
  KeyedRandom random(seed, "cones");
  return normalise_rows(normal({concepts, width}, 0, 1, random));
}

}  // namespace attune
