/** `completar bash|zsh|fish`: prints what the shell has to know; it then asks `resthooks --completar` (`main-complete.ts`). */
import { Argument, type Command } from 'commander'
import type { Context } from './context.ts'
import * as print from './print.ts'

const BASH = `# resthooks, para bash: https://www.gnu.org/software/bash/manual/html_node/Programmable-Completion.html
_resthooks() {
  local typed="\${COMP_WORDS[COMP_CWORD]}" value says
  COMPREPLY=()
  [[ $typed == = ]] && typed=
  while IFS=$'\\t' read -r value says; do
    case $value in
      :archivos) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "$typed") ;;
      :carpetas) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- "$typed") ;;
      ?*) COMPREPLY+=("$value") ;;
    esac
  done < <("$1" --completar "\${COMP_WORDS[@]:1:COMP_CWORD}" 2>/dev/null)
}
complete -F _resthooks resthooks`

const ZSH = `#compdef resthooks
_resthooks() {
  local -a lines values
  local line
  lines=("\${(@f)$("\${words[1]}" --completar "\${(@)words[2,CURRENT]}" 2>/dev/null)}")
  case \${lines[1]} in
    :archivos) _files; return ;;
    :carpetas) _files -/; return ;;
  esac
  for line in $lines; do
    values+=("\${\${line%%$'\\t'*}//:/\\\\:}:\${line#*$'\\t'}")
  done
  _describe -t valores resthooks values
}
if [[ \${funcstack[1]} == _resthooks ]]; then _resthooks "$@"; else compdef _resthooks resthooks; fi`

const FISH = `# resthooks, para fish
function __resthooks_completar
    set -l words (commandline -opc) (commandline -ct)
    set -l found (command $words[1] --completar $words[2..-1] 2>/dev/null)
    switch "$found[1]"
        case ':archivos' ':carpetas'
            __fish_complete_path (commandline -ct)
        case '*'
            printf '%s\\n' $found
    end
end
complete -c resthooks -f -a '(__resthooks_completar)'`

const SCRIPTS: Readonly<Record<string, string>> = { bash: BASH, zsh: ZSH, fish: FISH }

export function completar(program: Command, _context: Context): void {
  program
    .command('completar')
    .description('imprime lo que hace que la tecla Tab complete comandos, opciones, listeners, eventos y estados')
    .addArgument(new Argument('<shell>', 'el intérprete de comandos').choices(Object.keys(SCRIPTS)))
    .action((shell: string) => print.verbatim(SCRIPTS[shell]!))
}
