//! Reads `OpenMetrics` text strictly: what this takes, every scraper takes.
//!
//! Source: the `OpenMetrics` specification 1.0, and the naming rules of Prometheus for units and counters.

use std::collections::{BTreeMap, BTreeSet};

/// What one scrape brought.
#[derive(Debug, Default)]
pub struct Scrape {
    /// Type of each family, by its name.
    pub types: BTreeMap<String, String>,
    series: BTreeMap<Series, f64>,
}

type Series = (String, BTreeMap<String, String>);

impl Scrape {
    /// Reads a text.
    ///
    /// # Errors
    ///
    /// Names the line and what is wrong with it.
    pub fn parse(text: &str) -> Result<Self, String> {
        let Some(body) = text.strip_suffix("# EOF\n") else {
            return Err("the text does not end with # EOF".to_owned());
        };
        let mut reader = Reader::default();
        for line in body.lines() {
            reader.line(line).map_err(|error| format!("{line:?}: {error}"))?;
        }
        reader.scrape.check_histograms()?;
        Ok(reader.scrape)
    }

    /// The value of the series with exactly these labels.
    #[must_use]
    pub fn value(&self, name: &str, labels: &[(&str, &str)]) -> Option<f64> {
        let labels = labels.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        self.series.get(&(name.to_owned(), labels)).copied()
    }

    /// Sum over all series of a name.
    #[must_use]
    pub fn sum(&self, name: &str) -> f64 {
        self.series.iter().filter(|((known, _), _)| known == name).map(|(_, value)| value).sum()
    }

    /// Every value of every label.
    #[must_use]
    pub fn label_values(&self) -> BTreeSet<&str> {
        self.series.keys().flat_map(|(_, labels)| labels.values().map(String::as_str)).collect()
    }

    /// How many series there are.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    fn check_histograms(&self) -> Result<(), String> {
        let mut buckets: BTreeMap<Series, Vec<(f64, f64)>> = BTreeMap::new();
        for ((name, labels), value) in &self.series {
            let Some(family) = name.strip_suffix("_bucket") else { continue };
            let mut labels = labels.clone();
            let bound = labels.remove("le").ok_or_else(|| format!("{name} has a bucket without a bound"))?;
            let bound = number(&bound)?;
            buckets.entry((family.to_owned(), labels)).or_default().push((bound, *value));
        }
        for ((family, labels), mut bounds) in buckets {
            bounds.sort_by(|a, b| a.0.total_cmp(&b.0));
            let rises = bounds.windows(2).all(|pair| pair[0].1 <= pair[1].1);
            let count = self.series.get(&(format!("{family}_count"), labels.clone()));
            let all = bounds.last().filter(|(bound, _)| bound.is_infinite()).map(|(_, count)| count);
            if !rises || count.is_none() || all != count {
                return Err(format!("the buckets of {family} {labels:?} do not add up"));
            }
        }
        Ok(())
    }
}

#[derive(Default)]
struct Reader {
    scrape: Scrape,
    family: String,
}

impl Reader {
    fn line(&mut self, line: &str) -> Result<(), String> {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').ok_or("help without a text")?;
            let fine = name.starts_with("bellwether_") || name.starts_with("process_");
            if !fine || help.trim().is_empty() || self.scrape.types.contains_key(name) {
                return Err("a family begins twice, or is not named as ours are".to_owned());
            }
            name.clone_into(&mut self.family);
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').ok_or("no type")?;
            if name != self.family || !["counter", "gauge", "histogram"].contains(&kind) {
                return Err("the type is of another family, or none".to_owned());
            }
            self.scrape.types.insert(name.to_owned(), kind.to_owned());
            return Ok(());
        }
        if let Some(rest) = line.strip_prefix("# UNIT ") {
            let (name, unit) = rest.split_once(' ').ok_or("no unit")?;
            if name != self.family || !name.ends_with(&format!("_{unit}")) {
                return Err("a name ends with its unit".to_owned());
            }
            return Ok(());
        }
        self.sample(line)
    }

    fn sample(&mut self, line: &str) -> Result<(), String> {
        let end = line.find(['{', ' ']).ok_or("no value")?;
        let (name, rest) = line.split_at(end);
        let kind = self.scrape.types.get(&self.family).ok_or("a sample before its type")?;
        let suffix = name.strip_prefix(self.family.as_str()).ok_or("a sample of another family")?;
        let allowed: &[&str] = match kind.as_str() {
            "counter" => &["_total"],
            "histogram" => &["_bucket", "_sum", "_count"],
            _ => &[""],
        };
        let snake = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        if !allowed.contains(&suffix) || !name.chars().all(snake) {
            return Err(format!("{kind} has no sample of this name"));
        }
        if kind == "gauge" && name.ends_with("_total") {
            return Err("a gauge is no total".to_owned());
        }
        let (labels, value) = labels(rest)?;
        let value = number(value.trim())?;
        if value.is_nan() || kind != "gauge" && value < 0.0 {
            return Err("no such value".to_owned());
        }
        match self.scrape.series.insert((name.to_owned(), labels), value) {
            None => Ok(()),
            Some(_) => Err("a series comes twice".to_owned()),
        }
    }
}

/// Reads `{name="value",…}` where it is, and gives what follows.
fn labels(text: &str) -> Result<(BTreeMap<String, String>, &str), String> {
    let mut labels = BTreeMap::new();
    let Some(mut rest) = text.strip_prefix('{') else { return Ok((labels, text)) };
    loop {
        if let Some(after) = rest.strip_prefix('}') {
            return Ok((labels, after));
        }
        let (name, after) = rest.split_once("=\"").ok_or("a label without a value")?;
        if !name.chars().all(|c| c.is_ascii_lowercase() || c == '_') {
            return Err(format!("{name:?} is no name of a label"));
        }
        let (value, after) = quoted(after)?;
        if labels.insert(name.to_owned(), value).is_some() {
            return Err(format!("{name} comes twice"));
        }
        rest = after.strip_prefix(',').unwrap_or(after);
    }
}

fn quoted(text: &str) -> Result<(String, &str), String> {
    let (mut value, mut escaped) = (String::new(), false);
    for (at, c) in text.char_indices() {
        match (escaped, c) {
            (true, 'n') => value.push('\n'),
            (true, '\\' | '"') => value.push(c),
            (true, _) => return Err(format!("\\{c} is no escape")),
            (false, '"') => return Ok((value, &text[at + 1..])),
            (false, '\\') => {}
            (false, c) => value.push(c),
        }
        escaped = !escaped && c == '\\';
    }
    Err("a value does not end".to_owned())
}

fn number(text: &str) -> Result<f64, String> {
    match text {
        "+Inf" => Ok(f64::INFINITY),
        other => other.parse().map_err(|_| format!("{other:?} is no number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FINE: &str = "# HELP bellwether_a_seconds Time.\n# TYPE bellwether_a_seconds histogram\n\
        # UNIT bellwether_a_seconds seconds\nbellwether_a_seconds_sum{p=\"x\"} 1.5\nbellwether_a_seconds_count{p=\"x\"} 2\n\
        bellwether_a_seconds_bucket{le=\"1.0\",p=\"x\"} 1\nbellwether_a_seconds_bucket{le=\"+Inf\",p=\"x\"} 2\n# EOF\n";

    #[test]
    fn text_that_follows_the_rules_is_read() {
        let scrape = Scrape::parse(FINE).expect("read");
        assert_eq!(scrape.value("bellwether_a_seconds_count", &[("p", "x")]), Some(2.0));
    }

    #[test]
    fn text_that_breaks_a_rule_is_refused() {
        for (from, to) in [
            ("# EOF\n", ""),
            ("count{p=\"x\"} 2", "count{p=\"x\"} 3"),
            ("histogram", "counter"),
            ("seconds seconds", "seconds bytes"),
            ("le=\"1.0\",p=\"x\"} 1", "le=\"1.0\",p=\"x\"} 7"),
            ("sum{p=\"x\"} 1.5", "sum{p=\"x} 1.5"),
            ("sum{p=\"x\"} 1.5", "sum{p=\"x\"} fast"),
        ] {
            assert!(Scrape::parse(&FINE.replace(from, to)).is_err(), "{from} → {to}");
        }
    }
}
