//! `--config FILE`: options from a TOML file become command-line words before the ones the person typed, which therefore win.

use std::ffi::OsString;
use std::path::Path;

use anyhow::Context as _;

/// Inserts the file's options after the subcommand words. Without `--config` the arguments come back as they were.
pub fn expand(arguments: Vec<OsString>, root: &clap::Command) -> anyhow::Result<Vec<OsString>> {
    let Some(file) = config_file(&arguments) else {
        return Ok(arguments);
    };
    let text = std::fs::read_to_string(&file)
        .with_context(|| format!("cannot read {}", Path::new(&file).display()))?;
    let table: toml::Table = text
        .parse()
        .with_context(|| format!("{} is not TOML", Path::new(&file).display()))?;
    let at = subcommand_end(&arguments, root);
    let mut expanded = arguments[..at].to_vec();
    for (key, value) in &table {
        expanded.extend(words(key, value)?);
    }
    expanded.extend_from_slice(&arguments[at..]);
    Ok(expanded)
}

fn config_file(arguments: &[OsString]) -> Option<OsString> {
    let mut words = arguments.iter();
    while let Some(word) = words.next() {
        if word == "--config" {
            return words.next().cloned();
        }
        if let Some(file) = word.to_str().and_then(|w| w.strip_prefix("--config=")) {
            return Some(file.into());
        }
    }
    None
}

/// Index after the last subcommand word (`rapport reward learn` is 3).
fn subcommand_end(arguments: &[OsString], root: &clap::Command) -> usize {
    let mut command = root;
    let mut end = 1.min(arguments.len());
    while let Some(sub) = arguments
        .get(end)
        .and_then(|word| word.to_str())
        .and_then(|word| command.find_subcommand(word))
    {
        command = sub;
        end += 1;
    }
    end
}

fn words(key: &str, value: &toml::Value) -> anyhow::Result<Vec<OsString>> {
    let flag = format!("--{}", key.replace('_', "-"));
    Ok(match value {
        toml::Value::Boolean(true) => vec![flag.into()],
        toml::Value::Boolean(false) => vec![],
        toml::Value::Array(items) => items
            .iter()
            .map(|item| words(key, item))
            .collect::<anyhow::Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect(),
        toml::Value::String(text) => vec![flag.into(), text.into()],
        toml::Value::Integer(_) | toml::Value::Float(_) => {
            vec![flag.into(), value.to_string().into()]
        }
        _ => anyhow::bail!(
            "`{key}` in the config file must be a number, text, true, false or a list of those"
        ),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_of_the_file_stand_before_the_typed_ones() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run.toml");
        std::fs::write(
            &file,
            "episodes = 20\nshadow = true\ncamera = [\"a\", \"b\"]\nquiet = false\n",
        )
        .unwrap();
        let root = clap::Command::new("r")
            .subcommand(clap::Command::new("reward").subcommand(clap::Command::new("learn")));
        let typed: Vec<OsString> = [
            "r",
            "reward",
            "learn",
            "--config",
            file.to_str().unwrap(),
            "--episodes",
            "3",
        ]
        .iter()
        .map(OsString::from)
        .collect();
        let words = expand(typed, &root).unwrap();
        let words: Vec<_> = words.iter().map(|w| w.to_str().unwrap()).collect();
        assert_eq!(words[..3], ["r", "reward", "learn"]);
        let from_file = &words[3..words.iter().position(|w| *w == "--config").unwrap()];
        let has = |pair: &[&str]| from_file.windows(pair.len()).any(|w| w == pair);
        assert!(
            has(&["--episodes", "20"])
                && has(&["--camera", "a", "--camera", "b"])
                && has(&["--shadow"])
        );
        assert!(!has(&["--quiet"]), "false is left out");
        assert_eq!(words[words.len() - 2..], ["--episodes", "3"]);
    }
}
