#include "attune/evaluation/explain_transport.h"

#include <cmath>

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/log.h"
#include "attune/images/decode.h"
#include "attune/images/encode.h"
#include "attune/images/preprocess.h"

namespace attune {
namespace {

constexpr int kShownSide = 128;  // pixels

std::vector<std::vector<double>> rows_of(const Tensor& matrix) {
  const Tensor whole = matrix.to(at::kCPU, at::kDouble).contiguous();
  std::vector<std::vector<double>> rows;
  for (std::int64_t i = 0; i < whole.size(0); ++i) {
    const double* begin = whole.data_ptr<double>() + i * whole.size(1);
    rows.emplace_back(begin, begin + whole.size(1));
  }
  return rows;
}

std::int64_t side_of(std::int64_t cells) {
  const auto side = static_cast<std::int64_t>(std::lround(std::sqrt(static_cast<double>(cells))));
  if (side * side != cells) throw Error(fmt::format("explain: expected a square of cells, found {}", cells));
  return side;
}

std::string shown_picture(const std::filesystem::path& path, const Preprocess& preprocess) {
  const Image view = centre_view(read_image(path), preprocess);
  return data_uri(encode_png(resize(view, kShownSide, kShownSide, Filter::kBicubic)));
}

PictureTransport transport_of(Classifier& classifier, TransportsCells& cells, Inputs& inputs, const Dataset& dataset,
                              const Preprocess& preprocess, std::int64_t sample) {
  const Sample& own = inputs.samples()[static_cast<std::size_t>(sample)];
  Needs needs = classifier.needs();
  needs.local_features = true;
  const Tensor plan = cells.cell_plan(inputs.batch({sample}, {0}, needs), own.label)[0];  // [cells, M]
  PictureTransport found;
  found.class_name = dataset.classes[static_cast<std::size_t>(own.label)];
  found.path = own.path.string();
  found.domain = dataset.domains.empty() ? "" : dataset.domains[static_cast<std::size_t>(own.domain)];
  found.picture = shown_picture(dataset.path_of(own), preprocess);
  found.side = side_of(plan.size(0));
  found.prompts = rows_of((plan / plan.sum(0, /*keepdim=*/true)).t());
  return found;
}

}  // namespace

Transports look_at_transports(Classifier& classifier, TransportsCells& cells, Inputs& inputs, const Dataset& dataset,
                              const Preprocess& preprocess, std::size_t most) {
  const at::NoGradGuard no_gradients;
  Transports found;
  std::vector<std::int64_t> first(dataset.classes.size(), -1);
  for (std::int64_t i = inputs.size() - 1; i >= 0; --i) {
    first[static_cast<std::size_t>(inputs.samples()[static_cast<std::size_t>(i)].label)] = i;
  }
  std::vector<std::int64_t> shown;
  for (std::size_t c = 0; c < first.size(); ++c) {
    if (first[c] < 0 || (most > 0 && shown.size() == most)) continue;
    found.pictures.push_back(transport_of(classifier, cells, inputs, dataset, preprocess, first[c]));
    shown.push_back(static_cast<std::int64_t>(c));
  }
  if (!cells.has_descriptions()) return found;
  try {
    for (const std::int64_t c : shown) {
      DescriptionPlan plan = cells.description_plan(c);
      found.sentences.push_back({dataset.classes[static_cast<std::size_t>(c)], std::move(plan.sentences),
                                 rows_of(plan.plan), rows_of(plan.similarity)});
    }
  } catch (const Error& problem) {
    found.no_sentences = problem.what();
    log_warning(fmt::format("explain: the descriptions are left out: {}", problem.what()));
  }
  return found;
}

}  // namespace attune
