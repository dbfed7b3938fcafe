# Sourced first by the scripts that people call: `--help` prints the comment at the head of the script, and does nothing else.
for argument in "$@"; do
  case $argument in
    -h | --help)
      sed -n '2,/^[^#]/ { /^#/ s/^# \{0,1\}//p; }' "$0"
      exit
      ;;
  esac
done
