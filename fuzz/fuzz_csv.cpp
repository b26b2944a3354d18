#include "attune/base/error.h"
#include "attune/formats/csv.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  std::vector<attune::CsvRow> rows;
  try {
    rows = attune::parse_csv(text, "fuzz");
  } catch (const attune::Error&) {
    return 0;
  }
  std::string written;
  for (const attune::CsvRow& row : rows) {
    for (std::size_t i = 0; i < row.fields.size(); ++i)
      written += (i == 0 ? "" : ",") + attune::csv_field(row.fields[i]);
    written += "\n";
  }
  const std::vector<attune::CsvRow> again = attune::parse_csv(written, "again");
  if (again.size() != rows.size()) __builtin_trap();
  for (std::size_t i = 0; i < rows.size(); ++i) {
    if (again[i].fields != rows[i].fields) __builtin_trap();
  }
  return 0;
}
