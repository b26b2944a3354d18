#include "attune/tasks/concept_search.h"

#include <cmath>

#include "attune/base/error.h"

namespace attune {

ConceptSearch::ConceptSearch(const Tensor& start, const OptimSettings& settings, Task* task, Form form)
    : form_(form),
      start_(start.detach().clone()),
      learned_((form == Form::kOffset ? at::zeros_like(start_) : start_.clone()).requires_grad_(true)),
      settings_(settings),
      task_(task) {}

Stages ConceptSearch::stages(const TrainingData&) {
  if (task_ == nullptr) throw Error("concept search: expected a task to search for, found none");
  Stages stages;
  stages.push_back(
      make_descent_stage({"cones", settings_, {{{parameter()}}}, [this](const Batch& batch, std::int64_t step) {
                            task_->begin_step(step);
                            return task_->loss(current(), batch.samples);
                          }}));
  return stages;
}

TensorMap ConceptSearch::state() const {
  TensorMap state = {{"embeddings", embeddings()}};
  if (form_ == Form::kOffset) state["offset"] = learned_.detach();
  return state;
}

void ConceptSearch::load_state(const TensorMap& state) {
  // The sum that an offset's state holds beside it is for those who ask with it.
  TensorMap own = this->state();
  if (form_ == Form::kOffset) own["embeddings"] = at::empty_like(start_);
  copy_state(state, own, "concept search");
}

Tensor several_concepts(const Tensor& concepts, std::int64_t n, std::uint64_t seed) {
  constexpr double kBeside = 0.3;  // of a concept's length, about
  KeyedRandom random(seed, "cones.several");
  const double deviation = kBeside / std::sqrt(static_cast<double>(concepts.size(1)));
  Tensor noise = normal({concepts.size(0), n, concepts.size(1)}, 0, deviation, random);
  noise.select(1, 0).zero_();
  return concepts.unsqueeze(1) + noise * concepts.norm(2, 1).view({-1, 1, 1});
}

Tensor random_concepts(std::int64_t concepts, std::int64_t width, std::uint64_t seed) {
  KeyedRandom random(seed, "cones");
  return normalise_rows(normal({concepts, width}, 0, 1, random));
}

}  // namespace attune
