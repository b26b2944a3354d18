#include "attune/evaluation/evaluate.h"

#include <algorithm>
#include <iterator>
#include <numeric>
#include <set>

#include <sys/resource.h>

#include "attune/data/floors.h"
#include "attune/evaluation/metrics.h"

namespace attune {
namespace {

bool tells_concepts(const std::vector<Sample>& samples) {
  return std::any_of(samples.begin(), samples.end(), [](const Sample& sample) { return sample.held_out; });
}

/// The training part of the source domains, or of every domain but `own` where no sources are named.
std::vector<Sample> gallery_samples(const Dataset& dataset, const std::vector<std::string>& source_domains,
                                    std::size_t own) {
  if (!source_domains.empty()) return keep_domains(dataset, source_domains).train;
  std::vector<Sample> others;
  std::copy_if(dataset.train.begin(), dataset.train.end(), std::back_inserter(others),
               [&](const Sample& sample) { return sample.domain != static_cast<std::int64_t>(own); });
  return others;
}

}  // namespace

Tensor scores_of(Classifier& classifier, Inputs& inputs) {
  const Needs needs = classifier.needs();
  const std::int64_t at_once = Inputs::samples_at_once(needs);
  std::vector<Tensor> parts;
  for (std::int64_t first = 0; first < inputs.size(); first += at_once) {
    std::vector<std::int64_t> samples(static_cast<std::size_t>(std::min(at_once, inputs.size() - first)));
    std::iota(samples.begin(), samples.end(), first);
    const std::vector<std::int64_t> centre(samples.size(), 0);
    parts.push_back(classifier.logits(inputs.batch(samples, centre, needs)).to(at::kCPU));
  }
  return at::cat(parts);
}

Measurement measure_samples(const Tensor& scores, const std::vector<Sample>& samples, const Dataset& dataset) {
  const auto count = static_cast<std::int64_t>(samples.size());
  Truth truth;
  truth.class_names = dataset.classes;
  truth.labels = at::empty({count}, at::kLong);
  const bool several_domains = dataset.domains.size() > 1;
  const bool concepts = tells_concepts(samples);
  if (several_domains) {
    truth.domains = at::empty({count}, at::kLong);
    truth.domain_names = dataset.domains;
  }
  if (concepts) {
    truth.groups = at::empty({count}, at::kLong);
    truth.group_names = {"seen", "held_out"};
  }
  for (std::int64_t i = 0; i < count; ++i) {
    const Sample& sample = samples[static_cast<std::size_t>(i)];
    truth.labels.data_ptr<std::int64_t>()[i] = sample.label;
    if (several_domains) truth.domains.data_ptr<std::int64_t>()[i] = sample.domain;
    if (concepts) truth.groups.data_ptr<std::int64_t>()[i] = sample.held_out ? 1 : 0;
  }
  return measure(scores, truth);
}

std::vector<Example> example_answers(const Tensor& scores, const std::vector<Sample>& samples, const Dataset& dataset,
                                     std::size_t count, std::uint64_t seed) {
  const Tensor probabilities = scores.to(at::kDouble).softmax(1);
  const std::vector<std::int64_t> answers = top_answers(scores);
  std::vector<Example> examples;
  std::set<std::int64_t> shown;
  const std::vector<std::int64_t> order =
      random_order(static_cast<std::int64_t>(samples.size()), seed, "examples of a report");
  for (const bool new_classes_only : {true, false}) {
    for (const std::int64_t i : order) {
      if (examples.size() >= count) return examples;
      const Sample& sample = samples[static_cast<std::size_t>(i)];
      if (shown.contains(sample.label) == new_classes_only) continue;
      if (new_classes_only) shown.insert(sample.label);
      const auto answer = answers[static_cast<std::size_t>(i)];
      examples.push_back({dataset.path_of(sample).string(), dataset.classes[static_cast<std::size_t>(sample.label)],
                          dataset.classes[static_cast<std::size_t>(answer)], probabilities[i][answer].item<double>(),
                          dataset.domains.empty() ? "" : dataset.domains[static_cast<std::size_t>(sample.domain)],
                          answer == sample.label});
    }
  }
  return examples;
}

std::optional<Floors> pixel_floors(const Dataset& dataset, const std::vector<std::string>& source_domains,
                                   const std::vector<Sample>& samples) {
  if (!tells_concepts(samples)) return std::nullopt;
  Floors floors;
  floors.meaning =
      "nearest picture by 16 x 16 pixels among the training part of the source domains, other concepts only";
  std::optional<PixelGallery> gallery;
  for (std::size_t d = 0; d < dataset.domains.size(); ++d) {
    if (!gallery || source_domains.empty()) gallery.emplace(dataset, gallery_samples(dataset, source_domains, d));
    for (const bool held_out : {false, true}) {
      std::vector<Sample> queries;
      std::copy_if(samples.begin(), samples.end(), std::back_inserter(queries), [&](const Sample& sample) {
        return sample.domain == static_cast<std::int64_t>(d) && sample.held_out == held_out;
      });
      if (queries.empty()) continue;
      floors.acc1[dataset.domains[d]][held_out ? "held_out" : "seen"] =
          gallery->floor(dataset, queries, true).accuracy();
    }
  }
  return floors;
}

Forgetting measure_forgetting(Classifier& zero_shot, Classifier& learned, Inputs& inputs, const Dataset& others) {
  const auto accuracy_of = [&](Classifier& classifier) {
    return measure_samples(scores_of(classifier, inputs), inputs.samples(), others).metrics.acc1;
  };
  return {accuracy_of(zero_shot), accuracy_of(learned), others.classes};
}

double peak_memory_mb() {
  rusage usage{};
  ::getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

}  // namespace attune
