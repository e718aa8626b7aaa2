//! Manual pages and completions.

use std::io;
use std::path::Path;

use clap::Command;
use clap_complete::Shell;

/// Writes a page for each program and each of its commands, and completions for each program.
///
/// # Errors
///
/// What the system says of the folder.
pub(crate) fn write(programs: &[Command], folder: &Path) -> io::Result<()> {
    let (pages, completions) = (folder.join("man/man1"), folder.join("completions"));
    for folder in [&pages, &completions] {
        std::fs::create_dir_all(folder)?;
    }
    for program in programs {
        let name = program.get_name().to_owned();
        clap_mangen::generate_to(parted(program.clone(), programs), &pages)?;
        for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
            clap_complete::generate_to(shell, &mut program.clone(), &name, &completions)?;
        }
    }
    Ok(())
}

/// Gives a command's page another name where a program has that one: `bellwether gateway` is not `bellwether-gateway`.
fn parted(program: Command, programs: &[Command]) -> Command {
    let path = |command: &Command| format!("{}-{}", program.get_name(), command.get_name());
    let taken = |command: &&Command| programs.iter().any(|one| one.get_name() == path(command));
    let Some(command) = program.get_subcommands().find(taken) else { return program };
    let (name, path) = (command.get_name().to_owned(), path(command));
    program.mut_subcommand(name, |command| {
        command.display_name(format!("{path}{CLASH}")).mut_subcommands(|sub| {
            let name = format!("{path}-{}", sub.get_name());
            sub.display_name(name)
        })
    })
}

/// What stands behind the name of such a page.
const CLASH: &str = "-command";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::programs;

    /// Walks through a program's commands.
    fn each(command: &Command, path: &str, look: &mut impl FnMut(&str, &Command)) {
        let path = format!("{path} {}", command.get_name());
        look(path.trim(), command);
        for sub in command.get_subcommands() {
            each(sub, &path, look);
        }
    }

    #[test]
    fn every_command_and_every_word_behind_it_is_explained() {
        for program in programs() {
            each(&program, "", &mut |path, command| {
                assert!(command.get_about().is_some(), "{path} says nothing of itself");
                for arg in command.get_arguments() {
                    assert!(arg.get_help().is_some(), "{path}: {} says nothing of itself", arg.get_id());
                }
            });
        }
    }

    #[test]
    fn every_program_shows_how_it_is_used() {
        for program in programs() {
            let name = program.get_name().to_owned();
            let help = program.clone().render_long_help().to_string();
            let shown = help.lines().filter(|line| line.trim_start().starts_with(&format!("{name} ")));
            assert!(shown.count() >= 2, "{name} --help has no examples:\n{help}");
        }
    }

    #[test]
    fn every_command_has_its_page_and_every_program_its_completions() {
        let folder = tempfile::tempdir().expect("a folder");
        write(&programs(), folder.path()).expect("written");
        for program in programs() {
            each(&program, "", &mut |path, command| {
                let clash = path.contains(' ')
                    && programs().iter().any(|one| one.get_name() == path.replace(' ', "-"));
                let name = format!("{}{}.1", path.replace(' ', "-"), if clash { CLASH } else { "" });
                let page = folder.path().join("man/man1").join(name);
                let text = std::fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page:?}: {error}"));
                assert!(text.contains(".SH NAME") && text.contains(".SH SYNOPSIS"), "{path}");
                let about = command.get_about().expect("it says something of itself").to_string();
                let first = about.split_whitespace().next().expect("a word").to_owned();
                assert!(text.contains(&first), "{path}: {first}");
            });
            let name = program.get_name();
            for file in [format!("{name}.bash"), format!("_{name}"), format!("{name}.fish")] {
                let text = std::fs::read_to_string(folder.path().join("completions").join(&file));
                assert!(text.is_ok_and(|text| text.contains("help")), "{file}");
            }
        }
    }
}
