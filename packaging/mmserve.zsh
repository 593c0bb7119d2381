#compdef mmserve
# The options are those that mmserve --help lists.
_arguments '*:folder to serve:_files -/' -- \
    '*=FILE*:file:_files' '*=DIR*:folder:_files -/' '*=FORMAT*:format:(combined json)'
