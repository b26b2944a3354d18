# `cmake --install` puts the program, the library with its headers, the shipped models and the recipes below the prefix;
# find_package(Attune) then gives the target Attune::attune. LibTorch is not copied: the package looks for it as the build did.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(rooms base formats images text data tensors clip domains diffusion optim methods tasks training evaluation)
add_library(attune_library INTERFACE)
set_target_properties(attune_library PROPERTIES EXPORT_NAME attune)
add_library(Attune::attune ALIAS attune_library)
foreach(room ${rooms})
  target_link_libraries(attune_library INTERFACE attune_${room})
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/attune/${room} DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/attune
          FILES_MATCHING PATTERN "*.h")
endforeach()

list(TRANSFORM rooms PREPEND attune_ OUTPUT_VARIABLE room_targets)
install(TARGETS attune_library attune_flags attune_torch ${room_targets} EXPORT AttuneTargets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR})
install(EXPORT AttuneTargets NAMESPACE Attune:: DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Attune)
configure_package_config_file(${CMAKE_SOURCE_DIR}/cmake/AttuneConfig.cmake.in ${CMAKE_BINARY_DIR}/AttuneConfig.cmake
                              INSTALL_DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Attune)
write_basic_package_version_file(${CMAKE_BINARY_DIR}/AttuneConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/AttuneConfig.cmake ${CMAKE_BINARY_DIR}/AttuneConfigVersion.cmake
              ${CMAKE_SOURCE_DIR}/cmake/LibTorch.cmake ${CMAKE_SOURCE_DIR}/cmake/Dependencies.cmake
        DESTINATION ${CMAKE_INSTALL_LIBDIR}/cmake/Attune)
install(TARGETS attune RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR})
install(DIRECTORY ${CMAKE_SOURCE_DIR}/models DESTINATION ${CMAKE_INSTALL_DATADIR}/attune)
install(DIRECTORY ${CMAKE_SOURCE_DIR}/recipes DESTINATION ${CMAKE_INSTALL_DATADIR}/attune)
