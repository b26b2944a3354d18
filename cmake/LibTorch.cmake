# Defines the target attune_libtorch: headers and libraries of LibTorch, 2.6 or newer.
#   -DATTUNE_LIBTORCH=DIR  a folder with include/ and lib/ (no CMake files needed, so that a CUDA build works on a
#                          machine without the CUDA toolkit)
#   else an installed Torch that CMake finds, else the private folder of scripts/setup.
set(ATTUNE_LIBTORCH "" CACHE PATH "Folder with LibTorch's include/ and lib/")

if(DEFINED ENV{XDG_CACHE_HOME})
  set(_libtorch_private $ENV{XDG_CACHE_HOME}/attune/libtorch-2.13.0)
else()
  set(_libtorch_private $ENV{HOME}/.cache/attune/libtorch-2.13.0)
endif()

add_library(attune_libtorch INTERFACE IMPORTED GLOBAL)
if(NOT ATTUNE_LIBTORCH)
  find_package(Torch 2.6 QUIET)
  if(NOT Torch_FOUND)
    set(ATTUNE_LIBTORCH ${_libtorch_private})
  endif()
endif()
if(ATTUNE_LIBTORCH)
  if(NOT EXISTS ${ATTUNE_LIBTORCH}/lib/libtorch_cpu.so)
    message(FATAL_ERROR "LibTorch: expected an installed Torch (2.6 or newer) or ${ATTUNE_LIBTORCH}/lib/libtorch_cpu.so, "
                        "found neither; run scripts/setup, or name a folder with -DATTUNE_LIBTORCH=DIR")
  endif()
  message(STATUS "LibTorch: ${ATTUNE_LIBTORCH}")
  target_include_directories(attune_libtorch SYSTEM INTERFACE ${ATTUNE_LIBTORCH}/include)
  target_link_options(attune_libtorch INTERFACE -Wl,-rpath,${ATTUNE_LIBTORCH}/lib -Wl,-rpath-link,${ATTUNE_LIBTORCH}/lib
                      -Wl,--allow-shlib-undefined)
  target_link_libraries(attune_libtorch INTERFACE ${ATTUNE_LIBTORCH}/lib/libtorch_cpu.so ${ATTUNE_LIBTORCH}/lib/libc10.so)
  if(EXISTS ${ATTUNE_LIBTORCH}/lib/libtorch_cuda.so)
    # Kernels register themselves when the library is loaded, so it must be linked although no symbol is used.
    target_link_libraries(attune_libtorch INTERFACE -Wl,--no-as-needed ${ATTUNE_LIBTORCH}/lib/libtorch_cuda.so
                          ${ATTUNE_LIBTORCH}/lib/libc10_cuda.so -Wl,--as-needed)
  endif()
else()
  message(STATUS "LibTorch: installed, version ${Torch_VERSION}")
  target_include_directories(attune_libtorch SYSTEM INTERFACE ${TORCH_INCLUDE_DIRS})
  target_link_libraries(attune_libtorch INTERFACE ${TORCH_LIBRARIES})
endif()

# The OpenMP runtime that LibTorch runs its loops on: attune/tensors/parallel.cpp enters the same one.
if(ATTUNE_LIBTORCH)
  set(_libtorch_folder ${ATTUNE_LIBTORCH}/lib)
else()
  set(_libtorch_folder ${TORCH_INSTALL_PREFIX}/lib)
endif()
file(GLOB _openmp ${_libtorch_folder}/libgomp*.so* ${_libtorch_folder}/libiomp5.so ${_libtorch_folder}/libomp.so
     ${_libtorch_folder}/../../torch.libs/libgomp*.so*)
if(NOT _openmp)
  find_library(ATTUNE_OPENMP NAMES gomp libgomp.so.1 omp REQUIRED)
  set(_openmp ${ATTUNE_OPENMP})
endif()
list(GET _openmp 0 _openmp)
target_link_libraries(attune_libtorch INTERFACE ${_openmp})
