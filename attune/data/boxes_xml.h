#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace attune {

/// An element of an annotation: text, or further elements.
struct XmlElement {
  std::string name;
  std::string text;  // without the spaces around it
  std::vector<XmlElement> children;

  /// The only child of this name, null where there is none. Throws Error that names `where` where there are several.
  const XmlElement* child(std::string_view child_name, std::string_view where) const;
};

/// Reads the XML that annotations are written in: elements, text, the five named and the numeric entities, comments,
/// CDATA. Attributes and processing instructions are passed over; a document type, which could define entities, is
/// refused, as is nesting beyond 32. Throws Error that names `name` and the line.
XmlElement parse_xml(std::string_view text, std::string_view name);

}  // namespace attune
