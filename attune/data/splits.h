#pragma once

#include <cstdint>
#include <filesystem>
#include <string>
#include <string_view>

#include "attune/data/dataset.h"

namespace attune {

/// How a dataset without parts, or with too few, is divided; per class, and per domain where there are several.
enum class Division {
  kHalfTrain,      // 50 % train, 20 % val, 30 % test, of all pictures (CoOp, the DCPL family)
  kSeventyThirty,  // 70 % train, 30 % val, of all pictures; test is the same as val (SPG)
  kCarveVal,       // 80 % and 20 % of the training part; test is left as it is (CoOp where no val part exists)
};

/// Divides by shuffles keyed by (seed, domain, class): the same pictures whatever the order of the list. Shares are
/// rounded half to even, as CoOp does; a group with fewer pictures than parts leaves the later parts empty and is
/// noted. Throws UsageError where the dataset has parts already (kCarveVal: has no train or has a val part).
Dataset divide(const Dataset& dataset, Division division, std::uint64_t seed);

enum class DrawRule {
  kKeyed,  // ours: nested (the 4 shots contain the 2), independent of the order of the list
  kCoop,   // the draws of CoOp and Dassl for the same split file and seed
};
/// "keyed" or "coop". Throws UsageError on another name.
DrawRule draw_rule_named(std::string_view name);
std::string_view name_of(DrawRule rule);

struct FewShot {
  int shots = 16;
  std::uint64_t seed = 1;
  DrawRule rule = DrawRule::kKeyed;
  bool per_domain = false;  // k pictures of each class in each domain, instead of over all domains; kKeyed only
};

/// k training pictures and min(k, 4) validation pictures a class; test is left as it is. A class with fewer gives all
/// of them and is noted. Where there is no val part, kKeyed takes validation from the training pictures that were not
/// drawn; kCoop leaves it empty. kCoop reproduces Python's `random.seed(seed)` followed by `random.sample` for each
/// class in the order in which classes appear, train first, then val (Dassl's generate_fewshot_dataset without
/// repetition, methods 7.1). Throws UsageError on k < 1, on no training part, and on kCoop with per_domain.
Dataset draw_few_shot(const Dataset& dataset, const FewShot& options);

enum class ClassHalf { kBase, kNew };

/// The pictures of the first ceil(C/2) classes (base) or of the rest (new), relabelled from 0 (CoOp, methods 7.2).
/// CoOp draws its shots from all classes before it takes a half: to equal it, draw first. Throws UsageError below two
/// classes.
Dataset take_half(const Dataset& dataset, ClassHalf half);

/// A split on disk: classes, domains, parts with relative paths, how it was made, and a SHA-256 over them.
struct SplitRecord {
  std::string rule;  // such as "coop" or "50/20/30"
  std::uint64_t seed = 0;
  int shots = 0;  // 0: not few-shot
};
/// SHA-256 over classes, domains and parts, as `save_split` writes it: what an adapter records of its data.
std::string split_hash(const Dataset& dataset);
void save_split(const std::filesystem::path& file, const Dataset& dataset, const SplitRecord& record);
/// Reads a split back against the folder of the pictures. Throws Error that names the file where it was changed (the
/// hash differs), an index is out of range, or a path leaves `root`.
Dataset load_split(const std::filesystem::path& file, const std::filesystem::path& root, SplitRecord* record = nullptr);

}  // namespace attune
