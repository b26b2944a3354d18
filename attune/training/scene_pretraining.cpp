#include "attune/training/scene_pretraining.h"

#include <fmt/format.h>

#include "attune/base/error.h"
#include "attune/base/files.h"
#include "attune/data/parallel.h"
#include "attune/tensors/parallel.h"
#include "attune/text/templates.h"
#include "attune/training/run_settings.h"

namespace attune {

CompositeSettings scene_settings(const Config& recipe, std::string_view size_key) {
  CompositeSettings settings;
  settings.size = static_cast<int>(recipe.integer(size_key, 16, 4096));
  settings.least = static_cast<int>(recipe.integer("scenes.least", 1, 1000));
  settings.most = static_cast<int>(recipe.integer("scenes.most", 1, 1000));
  settings.smallest = recipe.number("scenes.smallest");
  settings.largest = recipe.number("scenes.largest");
  settings.overlap = recipe.number("scenes.overlap");
  return settings;
}

std::vector<std::string> scene_sentences(const Config& recipe, const std::vector<std::string>& names) {
  std::vector<std::string> sentences;
  for (const std::string& one : split_list(recipe.text("sentences"))) {
    if (one.find("{}") == std::string::npos) {
      throw UsageError(fmt::format("sentences: expected {{}} in the place of each name, found \"{}\"", one));
    }
    for (const std::string& name : names) sentences.push_back(fill(one, name));
  }
  if (sentences.empty()) throw UsageError("sentences: expected at least one, found none");
  return sentences;
}

void keep_drawing_list(const PretrainRun& run, const Config& recipe, const std::string& list, bool resumed) {
  const std::filesystem::path path = run.folder() / "drawings.json";
  if (!resumed) return write_file(path, list);
  if (read_file(path) != list) {
    throw UsageError(fmt::format("{}: a run goes on only with its own drawings, found others in {}", path.string(),
                                 recipe.text("drawings")));
  }
}

std::vector<Composite> compose_scenes(const Drawings& drawings, const CompositeSettings& settings, std::uint64_t seed,
                                      std::uint64_t first, std::int64_t count) {
  std::vector<Composite> scenes(static_cast<std::size_t>(count));
  parallel_for(count, static_cast<int>(parallel_width()), [&](std::int64_t i) {
    scenes[static_cast<std::size_t>(i)] = compose(drawings, settings, seed, first + static_cast<std::uint64_t>(i));
  });
  return scenes;
}

void write_scene_card(const std::filesystem::path& folder, const std::string& list, const Drawings& drawings,
                      const PretrainPosition& position, const Json& last) {
  write_file(folder / "drawings.json", list);
  write_json(folder / "metrics.json", {{"steps", position.step},
                                       {"samples", position.samples},
                                       {"drawings", drawings.drawings.size()},
                                       {"categories", drawings.categories.size()},
                                       {"drawings_sha256", sha256(list)},
                                       {"last", last}});
}

}  // namespace attune
