# Print an optspec for argparse to handle cmd's options that are independent of any subcommand.
function __fish_onward_global_optspecs
    string join \n h/help V/version
end

function __fish_onward_needs_command
    # Figure out if the current invocation already has a command.
    set -l cmd (commandline -opc)
    set -e cmd[1]
    argparse -s (__fish_onward_global_optspecs) -- $cmd 2>/dev/null
    or return
    if set -q argv[1]
        # Also print the command, so this can be used to figure out what it is.
        echo $argv[1]
        return 1
    end
    return 0
end

function __fish_onward_using_subcommand
    set -l cmd (__fish_onward_needs_command)
    test -z "$cmd"
    and return 1
    contains -- $cmd[1] $argv
end

complete -c onward -n "__fish_onward_needs_command" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_needs_command" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_needs_command" -f -a "download" -d 'Download files; the same command again continues'
complete -c onward -n "__fish_onward_needs_command" -f -a "get" -d 'Download files; the same command again continues'
complete -c onward -n "__fish_onward_needs_command" -f -a "upload" -d 'Upload files to a server; the same command again continues'
complete -c onward -n "__fish_onward_needs_command" -f -a "put" -d 'Upload files to a server; the same command again continues'
complete -c onward -n "__fish_onward_needs_command" -f -a "serve" -d 'Receive uploads into a folder and serve its files'
complete -c onward -n "__fish_onward_needs_command" -f -a "resume" -d 'Finish what was left unfinished, with nothing given again'
complete -c onward -n "__fish_onward_needs_command" -f -a "status" -d 'List what is unfinished'
complete -c onward -n "__fish_onward_needs_command" -f -a "probe" -d 'Say what a server can do for a download, without downloading'
complete -c onward -n "__fish_onward_needs_command" -f -a "cancel" -d 'Forget an unfinished transfer, here and at the server'
complete -c onward -n "__fish_onward_needs_command" -f -a "demo" -d 'Prove the installation: move a file both ways, killed half-way'
complete -c onward -n "__fish_onward_needs_command" -f -a "dialects" -d 'List the form dialects that `upload --dialect` speaks; print, check or draft one'
complete -c onward -n "__fish_onward_needs_command" -f -a "completions" -d 'Print the completion script of a shell'
complete -c onward -n "__fish_onward_needs_command" -f -a "man" -d 'Print the manual page'
complete -c onward -n "__fish_onward_using_subcommand download" -s o -l output -d 'Write to this file (one URL only); `-` is stdout' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -s d -l dir -d 'Write into this folder' -r -f -a "(__fish_complete_directories)"
complete -c onward -n "__fish_onward_using_subcommand download" -s i -l input -d 'Read more URLs from FILE, one a line; `-` is stdin' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -s x -l connections -d 'Connections a file [default: as many as help]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -s j -l jobs -d 'Large files at once [default: 3]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l chunk-size -d 'Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l mirror -d 'Another URL of the same file, used beside the first once it is shown to be the same; repeatable (one file only)' -r -f
complete -c onward -n "__fish_onward_using_subcommand download" -l buffer -d 'How much to fetch ahead, in memory, of what reads a pipe (`-o -`, a FIFO) [default: 64M]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l checksum -d 'The digest the file must have, as in sha256:HEX (one URL only)' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l url-command -d 'Run CMD when the link has expired; the first line it prints is the fresh one (one URL only)' -r -f -a "(__fish_complete_command)"
complete -c onward -n "__fish_onward_using_subcommand download" -l checksum-file -d 'Find each file\'s digest in this list, as SHA256SUMS files are (GNU or BSD lines)' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -l adopt -d 'Go on from the beginning that curl, wget or a browser left in FILE, after comparing samples (one URL only)' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -s D -l dump-header -d 'Write the head of each reply to FILE, secrets masked' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -l speed-limit -d 'Replace a connection slower than this, as in 10K [default: none]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l speed-time -d 'How long it may be slower than --speed-limit [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand download" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand download" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand download" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand download" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand download" -l create-dirs -d 'Create the folder if it is not there'
complete -c onward -n "__fish_onward_using_subcommand download" -l overwrite -d 'Replace an existing file, once the new one is complete'
complete -c onward -n "__fish_onward_using_subcommand download" -l no-clobber -d 'Leave an existing file alone and count it as done'
complete -c onward -n "__fish_onward_using_subcommand download" -l no-restart -d 'Fail (exit 4) instead of starting over when the remote file has changed'
complete -c onward -n "__fish_onward_using_subcommand download" -s R -l remote-time -d 'Give the file the time of the remote one'
complete -c onward -n "__fish_onward_using_subcommand download" -l strict -d 'Fail (exit 5) where only comparing samples shows that a resumed file is right'
complete -c onward -n "__fish_onward_using_subcommand download" -l dry-run -d 'Say what would be done, and move nothing'
complete -c onward -n "__fish_onward_using_subcommand download" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand download" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand download" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand download" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand download" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand download" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand download" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand download" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand get" -s o -l output -d 'Write to this file (one URL only); `-` is stdout' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -s d -l dir -d 'Write into this folder' -r -f -a "(__fish_complete_directories)"
complete -c onward -n "__fish_onward_using_subcommand get" -s i -l input -d 'Read more URLs from FILE, one a line; `-` is stdin' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -s x -l connections -d 'Connections a file [default: as many as help]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -s j -l jobs -d 'Large files at once [default: 3]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l chunk-size -d 'Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l mirror -d 'Another URL of the same file, used beside the first once it is shown to be the same; repeatable (one file only)' -r -f
complete -c onward -n "__fish_onward_using_subcommand get" -l buffer -d 'How much to fetch ahead, in memory, of what reads a pipe (`-o -`, a FIFO) [default: 64M]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l checksum -d 'The digest the file must have, as in sha256:HEX (one URL only)' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l url-command -d 'Run CMD when the link has expired; the first line it prints is the fresh one (one URL only)' -r -f -a "(__fish_complete_command)"
complete -c onward -n "__fish_onward_using_subcommand get" -l checksum-file -d 'Find each file\'s digest in this list, as SHA256SUMS files are (GNU or BSD lines)' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -l adopt -d 'Go on from the beginning that curl, wget or a browser left in FILE, after comparing samples (one URL only)' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -s D -l dump-header -d 'Write the head of each reply to FILE, secrets masked' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -l speed-limit -d 'Replace a connection slower than this, as in 10K [default: none]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l speed-time -d 'How long it may be slower than --speed-limit [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand get" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand get" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand get" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand get" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand get" -l create-dirs -d 'Create the folder if it is not there'
complete -c onward -n "__fish_onward_using_subcommand get" -l overwrite -d 'Replace an existing file, once the new one is complete'
complete -c onward -n "__fish_onward_using_subcommand get" -l no-clobber -d 'Leave an existing file alone and count it as done'
complete -c onward -n "__fish_onward_using_subcommand get" -l no-restart -d 'Fail (exit 4) instead of starting over when the remote file has changed'
complete -c onward -n "__fish_onward_using_subcommand get" -s R -l remote-time -d 'Give the file the time of the remote one'
complete -c onward -n "__fish_onward_using_subcommand get" -l strict -d 'Fail (exit 5) where only comparing samples shows that a resumed file is right'
complete -c onward -n "__fish_onward_using_subcommand get" -l dry-run -d 'Say what would be done, and move nothing'
complete -c onward -n "__fish_onward_using_subcommand get" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand get" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand get" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand get" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand get" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand get" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand get" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand get" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand upload" -s t -l to -d 'Upload all FILEs into this URL' -r -f
complete -c onward -n "__fish_onward_using_subcommand upload" -l name -d 'What the remote file is to be called (one FILE only)' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -s x -l connections -d 'Connections a file [default: as many as help]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -s j -l jobs -d 'Files at once [default: 3]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l chunk-size -d 'Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l protocol -d 'Speak this protocol [default: auto, whichever the server announces]' -r -f -a "auto\t''
handshake\t''
tus\t''
ietf\t''
up2k\t''
patch\t''
put-range\t''
put\t''"
complete -c onward -n "__fish_onward_using_subcommand upload" -l metadata -d 'Tell the server this of the file too (tus); `filename` and `filetype` are told anyway' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l digest -d 'Compare the whole file with the server by this digest [default: auto]' -r -f -a "auto\t''
crc64\t''
md5\t''
sha-256\t''"
complete -c onward -n "__fish_onward_using_subcommand upload" -l dialect -d 'Upload through forms, as this dialect says: a name of `onward dialects`, or a file' -r -F
complete -c onward -n "__fish_onward_using_subcommand upload" -s F -l field -d 'Send this field in every form' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand upload" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand upload" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand upload" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand upload" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand upload" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand upload" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand upload" -l overwrite -d 'Replace a remote file of that name, once the new one is complete'
complete -c onward -n "__fish_onward_using_subcommand upload" -l no-clobber -d 'Leave a remote file of that name alone and count it as done'
complete -c onward -n "__fish_onward_using_subcommand upload" -l restart -d 'Forget an unfinished upload of it, here and at the server, and begin anew'
complete -c onward -n "__fish_onward_using_subcommand upload" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand upload" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand upload" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand upload" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand upload" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand upload" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand upload" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand upload" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand put" -s t -l to -d 'Upload all FILEs into this URL' -r -f
complete -c onward -n "__fish_onward_using_subcommand put" -l name -d 'What the remote file is to be called (one FILE only)' -r
complete -c onward -n "__fish_onward_using_subcommand put" -s x -l connections -d 'Connections a file [default: as many as help]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -s j -l jobs -d 'Files at once [default: 3]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l chunk-size -d 'Chunk size, as in 8M; raised until there are at most 10,000 [default: 8M]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l protocol -d 'Speak this protocol [default: auto, whichever the server announces]' -r -f -a "auto\t''
handshake\t''
tus\t''
ietf\t''
up2k\t''
patch\t''
put-range\t''
put\t''"
complete -c onward -n "__fish_onward_using_subcommand put" -l metadata -d 'Tell the server this of the file too (tus); `filename` and `filetype` are told anyway' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l digest -d 'Compare the whole file with the server by this digest [default: auto]' -r -f -a "auto\t''
crc64\t''
md5\t''
sha-256\t''"
complete -c onward -n "__fish_onward_using_subcommand put" -l dialect -d 'Upload through forms, as this dialect says: a name of `onward dialects`, or a file' -r -F
complete -c onward -n "__fish_onward_using_subcommand put" -s F -l field -d 'Send this field in every form' -r
complete -c onward -n "__fish_onward_using_subcommand put" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand put" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand put" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand put" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand put" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand put" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand put" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand put" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand put" -l overwrite -d 'Replace a remote file of that name, once the new one is complete'
complete -c onward -n "__fish_onward_using_subcommand put" -l no-clobber -d 'Leave a remote file of that name alone and count it as done'
complete -c onward -n "__fish_onward_using_subcommand put" -l restart -d 'Forget an unfinished upload of it, here and at the server, and begin anew'
complete -c onward -n "__fish_onward_using_subcommand put" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand put" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand put" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand put" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand put" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand put" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand put" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand put" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand serve" -l listen -d 'Listen here; port 0 picks a free one [default: 127.0.0.1:8080]' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l token-file -d 'Tokens that open the door, one `name:token` a line' -r -F
complete -c onward -n "__fish_onward_using_subcommand serve" -l tls-cert -d 'Speak https with this certificate chain (PEM)' -r -F
complete -c onward -n "__fish_onward_using_subcommand serve" -l tls-key -d 'The private key of the certificate (PEM)' -r -F
complete -c onward -n "__fish_onward_using_subcommand serve" -l dedupe -d 'How equal content gets a second name [default: copy]' -r -f -a "copy\t'Share the blocks where the filesystem can, else copy'
link\t'A hard link, where the filesystem can: who writes into one of the files changes both'"
complete -c onward -n "__fish_onward_using_subcommand serve" -l max-file-size -d 'Refuse larger uploads than this' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l max-unfinished -d 'Unfinished uploads a token may have [default: 100]' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l min-free -d 'Keep this much of the disk free [default: 256M]' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l base-path -d 'Serve below this path, as behind a reverse proxy [default: /]' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l expire -d 'Forget an unfinished upload when nothing was heard of it for this long [default: 7d]' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l allow-host -d 'Answer to this host name too, beside this machine\'s own; `*` for any' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l cors -d 'Let browser pages of this origin (as in `https://example.org`) up- and download; repeatable' -r
complete -c onward -n "__fish_onward_using_subcommand serve" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand serve" -l read-only -d 'Take no uploads'
complete -c onward -n "__fish_onward_using_subcommand serve" -l upload-only -d 'Give out no files and no listing'
complete -c onward -n "__fish_onward_using_subcommand serve" -l allow-overwrite -d 'Let uploads replace finished files, when they ask to'
complete -c onward -n "__fish_onward_using_subcommand serve" -l until-stdin-ends -d 'Stop when stdin ends, so that no server outlives the process that started it'
complete -c onward -n "__fish_onward_using_subcommand serve" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand serve" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand serve" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand serve" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand resume" -l to -d 'Of a source with several destinations only this one' -r -f
complete -c onward -n "__fish_onward_using_subcommand resume" -l trust -d 'Follow this record although it may have been planted' -r -F
complete -c onward -n "__fish_onward_using_subcommand resume" -l url -d 'Go on from this URL instead of the recorded one, as when a signed link has expired (one download only)' -r -f
complete -c onward -n "__fish_onward_using_subcommand resume" -l url-command -d 'Run CMD when the link has expired; the first line it prints is the fresh one (one download only)' -r -f -a "(__fish_complete_command)"
complete -c onward -n "__fish_onward_using_subcommand resume" -s x -l connections -d 'Connections a file [default: as many as help]' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -s j -l jobs -d 'Large files at once [default: 3]' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l assume -d 'What became of a part that was never answered: `stored`, go on behind it; `lost`, send it again' -r -f -a "stored\t'The server has it'
lost\t'The server does not have it'"
complete -c onward -n "__fish_onward_using_subcommand resume" -s F -l field -d 'Send this field in every form' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand resume" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand resume" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand resume" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand resume" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand resume" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand resume" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand resume" -s r -l recursive -d 'Descend into folders'
complete -c onward -n "__fish_onward_using_subcommand resume" -l no-restart -d 'Fail (exit 4) instead of starting over when the content has changed'
complete -c onward -n "__fish_onward_using_subcommand resume" -l restart -d 'Send uploads anew, and have the server forget what of them has arrived'
complete -c onward -n "__fish_onward_using_subcommand resume" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand resume" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand resume" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand resume" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand resume" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand resume" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand resume" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand resume" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand status" -s r -l recursive -d 'Descend into folders'
complete -c onward -n "__fish_onward_using_subcommand status" -l json -d 'Print one JSON object a line'
complete -c onward -n "__fish_onward_using_subcommand status" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand status" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand probe" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand probe" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand probe" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand probe" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand probe" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand probe" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand probe" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand probe" -l json -d 'Print one JSON object a line'
complete -c onward -n "__fish_onward_using_subcommand probe" -l speed -d 'Measure one connection against four: up to 32 MiB and 8 s'
complete -c onward -n "__fish_onward_using_subcommand probe" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand probe" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand probe" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand probe" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand probe" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand probe" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand probe" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand probe" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand cancel" -l to -d 'Of a source with several destinations only this one' -r -f
complete -c onward -n "__fish_onward_using_subcommand cancel" -l trust -d 'Follow this record although it may have been planted' -r -F
complete -c onward -n "__fish_onward_using_subcommand cancel" -s F -l field -d 'Send this field in every form' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -s H -l header -d 'Send this header; @FILE reads lines of them from FILE' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -s u -l user -d 'Log in; without :PASSWORD it is taken from ONWARD_PASSWORD' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l token-file -d 'Read a bearer token from FILE; only the given origin sees it' -r -F
complete -c onward -n "__fish_onward_using_subcommand cancel" -l netrc -d 'Look the login up in ~/.netrc, or in FILE' -r -F
complete -c onward -n "__fish_onward_using_subcommand cancel" -s b -l cookie -d 'Send these cookies: as \'name=value; …\', or from a cookies.txt (Netscape format)' -r -F
complete -c onward -n "__fish_onward_using_subcommand cancel" -l cacert -d 'Trust the certificates in this PEM file too' -r -F
complete -c onward -n "__fish_onward_using_subcommand cancel" -l proxy -d 'Go through this proxy (http, https, socks5, socks5h)' -r -f
complete -c onward -n "__fish_onward_using_subcommand cancel" -s A -l user-agent -d 'Call ourselves this' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l limit-rate -d 'Move at most this many bytes a second in all, as in 16M' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l connect-timeout -d 'Give up a connection attempt after this long [default: 30s]' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l stall-timeout -d 'Replace a connection on which no byte moves for this long [default: 20s]' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l max-time -d 'Stop after this long, as in 90, 90s or 1h30m; the same command goes on' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l retries -d 'Try again this often without any progress, or `inf` [default: 10]' -r
complete -c onward -n "__fish_onward_using_subcommand cancel" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand cancel" -s k -l insecure -d 'Do not check the server\'s certificate'
complete -c onward -n "__fish_onward_using_subcommand cancel" -l allow-downgrade -d 'Follow redirects from https to http'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s 4 -l ipv4 -d 'Use IPv4 only'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s 6 -l ipv6 -d 'Use IPv6 only'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand cancel" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand demo" -l size -d 'The size of the file [default: 256M]' -r
complete -c onward -n "__fish_onward_using_subcommand demo" -l progress -d 'How progress is shown on stderr [default: auto]' -r -f -a "auto\t'Bars on a terminal, plain elsewhere, under TERM=dumb and under CI'
bars\t'One bar a file'
plain\t'Now and then a line'
json\t'One JSON object a line, warnings and failures too'
none\t'Nothing but warnings and failures'"
complete -c onward -n "__fish_onward_using_subcommand demo" -s q -l quiet -d 'Show failures only'
complete -c onward -n "__fish_onward_using_subcommand demo" -s v -l verbose -d 'Say more: requests, redirects, decisions; -vv also the heads of requests and answers, secrets masked'
complete -c onward -n "__fish_onward_using_subcommand demo" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand demo" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand dialects; and not __fish_seen_subcommand_from show check from-curl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand dialects; and not __fish_seen_subcommand_from show check from-curl" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand dialects; and not __fish_seen_subcommand_from show check from-curl" -f -a "show" -d 'Print a dialect, to start one of your own from'
complete -c onward -n "__fish_onward_using_subcommand dialects; and not __fish_seen_subcommand_from show check from-curl" -f -a "check" -d 'Read a dialect and say what is wrong with it, line by line'
complete -c onward -n "__fish_onward_using_subcommand dialects; and not __fish_seen_subcommand_from show check from-curl" -f -a "from-curl" -d 'Draft a dialect from a request copied in a browser ("Copy as cURL")'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from show" -s h -l help -d 'Print help'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from show" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from check" -s h -l help -d 'Print help'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from check" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from from-curl" -s h -l help -d 'Print help (see more with \'--help\')'
complete -c onward -n "__fish_onward_using_subcommand dialects; and __fish_seen_subcommand_from from-curl" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand completions" -s h -l help -d 'Print help'
complete -c onward -n "__fish_onward_using_subcommand completions" -s V -l version -d 'Print version'
complete -c onward -n "__fish_onward_using_subcommand man" -s h -l help -d 'Print help'
complete -c onward -n "__fish_onward_using_subcommand man" -s V -l version -d 'Print version'
