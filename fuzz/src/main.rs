//! Runs targets: under libFuzzer where scripts/fuzz.sh builds it so, else on inputs that are given.
#![cfg_attr(libfuzzer, no_main)]

#[cfg(libfuzzer)]
mod under_libfuzzer {
    use std::sync::LazyLock;

    use bellwether_fuzz::Target;

    /// The one that the environment names: libFuzzer keeps the command line for itself.
    #[expect(clippy::disallowed_methods, reason = "a program's own shell reads its environment")]
    static TARGET: LazyLock<&Target> = LazyLock::new(|| {
        let name = std::env::var("FUZZ_TARGET").expect("FUZZ_TARGET names a target");
        Target::find(&name).expect("a known target")
    });

    libfuzzer_sys::fuzz_target!(|data: &[u8]| TARGET.feed(data));
}

#[cfg(not(libfuzzer))]
fn main() -> std::process::ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match by_hand::run(&arguments) {
        Ok(()) => std::process::ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            std::process::ExitCode::FAILURE
        }
    }
}

#[cfg(not(libfuzzer))]
mod by_hand {
    use std::io;
    use std::path::Path;

    use bellwether_fuzz::{TARGETS, Target, corpus};

    const USAGE: &str = "usage: bellwether-fuzz list
       bellwether-fuzz run TARGET FILE...     feeds files to a target
       bellwether-fuzz words TARGET           prints its dictionary
       bellwether-fuzz seeds TARGET DIR       writes the messages that a corpus starts from
       bellwether-fuzz unpack TARGET DIR      writes the committed corpus as files, or seeds where there is none
       bellwether-fuzz pack TARGET DIR        replaces the committed corpus by files";

    pub(crate) fn run(arguments: &[&str]) -> io::Result<()> {
        let find =
            |name: &str| Target::find(name).ok_or_else(|| io::Error::other(format!("{name} is no target")));
        match arguments {
            ["list"] => TARGETS.iter().for_each(|target| println!("{} {}", target.name, target.bytes_max)),
            ["run", target, files @ ..] => {
                let target = find(target)?;
                for file in files {
                    target.feed(&std::fs::read(file)?);
                    println!("{file}: nothing found");
                }
            }
            ["words", target] => {
                for word in find(target)?.words {
                    println!("\"{}\"", word.replace('\\', "\\\\").replace('"', "\\\""));
                }
            }
            ["seeds", target, into] => corpus::unpack(&(find(target)?.seeds)(), Path::new(into))?,
            ["unpack", target, into] => corpus::unpack(&inputs(find(target)?)?, Path::new(into))?,
            ["pack", target, from] => {
                corpus::write(find(target)?.name, &corpus::read_folder(Path::new(from))?)?;
            }
            _ => return Err(io::Error::other(USAGE)),
        }
        Ok(())
    }

    /// A target's corpus; a new one's seeds.
    fn inputs(target: &Target) -> io::Result<Vec<Vec<u8>>> {
        match corpus::read(target.name) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok((target.seeds)()),
            read => read,
        }
    }
}
