# The headers as targets: mm::buffer, mm::arena, mm::pool, mm::heap, mm::chunk, mm::io, and mm::mm for
# all. Beside these one file of the program defines MM_IMPLEMENTATION, and who wants TLS in mm::io
# defines MM_IO_OPENSSL and links OpenSSL::SSL. Included by find_package(mm) from where `make install`
# puts it, and by the CMakeLists.txt of the source tree.
if(TARGET mm::mm)
    return()
endif()
if(EXISTS "${CMAKE_CURRENT_LIST_DIR}/../mm_buffer.h")
    get_filename_component(mm_include_dir "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
else()
    get_filename_component(mm_include_dir "${CMAKE_CURRENT_LIST_DIR}/../../../include" ABSOLUTE)
endif()
set(THREADS_PREFER_PTHREAD_FLAG ON)
find_package(Threads REQUIRED)
foreach(part buffer arena pool heap chunk io mm)
    add_library(mm::${part} INTERFACE IMPORTED GLOBAL)
    set_target_properties(mm::${part} PROPERTIES
        INTERFACE_INCLUDE_DIRECTORIES "${mm_include_dir}"
        INTERFACE_LINK_LIBRARIES Threads::Threads)
endforeach()
unset(mm_include_dir)
