#include <cstddef>
#include <cstdint>
#include <string_view>

#include "attune/base/error.h"
#include "attune/data/class_names.h"
#include "attune/data/icon_set.h"
#include "attune/data/known_sets.h"
#include "attune/data/split_files.h"

// The first byte chooses the reader, '0' the first.
extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  if (size == 0) return 0;
  const std::string_view text(reinterpret_cast<const char*>(data) + 1, size - 1);
  std::vector<std::string> raw_classes;
  try {
    switch ((data[0] + 1) % 7) {
      case 0: {
        attune::Listing listing = attune::parse_split_json(text, "input");
        attune::name_indexed_domains(listing, {{"0", "a"}});
        attune::number_classes(listing, raw_classes);
        break;
      }
      case 1:
        attune::number_classes(attune::parse_jsonl(text, "input", attune::Part::kTrain), raw_classes);
        break;
      case 2:
        attune::number_classes(attune::parse_csv_listing(text, "input", attune::Part::kAll), raw_classes);
        break;
      case 3:
        attune::parse_class_names_json(text, "input");
        break;
      case 4:
        attune::parse_class_names_text(text, {"n01", "n02"}, "input");
        break;
      case 6:
        attune::number_classes(attune::parse_aircraft_list(text, {"707-320", "A300B4"}, attune::Part::kVal, "input"),
                               raw_classes);
        break;
      default:
        attune::IconSet(text, "input").svg("a", 16);
    }
  } catch (const attune::Error&) {
    // Bad input ends in an Error, and in nothing else.
  }
  return 0;
}
