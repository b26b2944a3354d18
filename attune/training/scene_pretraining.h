#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "attune/base/config.h"
#include "attune/data/composites.h"
#include "attune/training/pretrain_run.h"

namespace attune {

// What pre-trainings on scenes of listed drawings have in common.

/// Side of a drawing's rendering, pixels.
inline constexpr int kDrawingSide = 128;

/// The keys scenes.*; `size_key` holds the side of a scene. Throws UsageError that names the key.
CompositeSettings scene_settings(const Config& recipe, std::string_view size_key);

/// Every name in every sentence of the key `sentences`, sentence by sentence. Throws UsageError for a sentence without
/// "{}", or none.
std::vector<std::string> scene_sentences(const Config& recipe, const std::vector<std::string>& names);

/// Keeps `list`, the drawings that are trained on, in the run's drawings.json. Throws UsageError where a resumed run
/// finds another there.
void keep_drawing_list(const PretrainRun& run, const Config& recipe, const std::string& list, bool resumed);

/// Scenes `first`, `first` + 1, ... composed on all threads.
std::vector<Composite> compose_scenes(const Drawings& drawings, const CompositeSettings& settings, std::uint64_t seed,
                                      std::uint64_t first, std::int64_t count);

/// drawings.json and metrics.json of a model folder; `last`: the last line of the log.
void write_scene_card(const std::filesystem::path& folder, const std::string& list, const Drawings& drawings,
                      const PretrainPosition& position, const Json& last);

}  // namespace attune
