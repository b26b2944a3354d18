#pragma once

#include <filesystem>

#include "attune/base/log.h"
#include "attune/data/dataset.h"

namespace attune {

/// Emoji-DG: 650 concepts drawn by five vendor families. Classes are 41 subgroups of Unicode's emoji list, or the
/// concepts themselves; domains are the families. Training part: the concepts whose drawings pre-training may have
/// seen; test part: the held-out ones. Which families a run trains on is its protocol's choice (`keep_domains`).
enum class EmojiTask { kSubgroups, kConcepts };

/// Where the rendered benchmark lies: `emoji-dg-1` in the cache folder.
std::filesystem::path emoji_dg_folder();

/// Renders the icons that `lists` (models/pocket/emoji_dg.json) names to <domain>/<set>/<subgroup>/<code>.png of
/// `size` x `size` pixels, black ink on white where a set has no colours, and writes index.json last: a folder
/// without it is incomplete. `icons` holds <set>/icons.json of the @iconify-json packages, directly, or under
/// @iconify-json/ or node_modules/@iconify-json/. Throws Error naming the set and icon that is missing or broken.
void render_emoji_dg(const std::filesystem::path& lists, const std::filesystem::path& icons,
                     const std::filesystem::path& out, int size = 64, int threads = 2, Progress* progress = nullptr);

/// Opens a rendered folder. Throws Error that says how to render it where it is missing.
Dataset open_emoji_dg(const std::filesystem::path& folder, EmojiTask task);

}  // namespace attune
