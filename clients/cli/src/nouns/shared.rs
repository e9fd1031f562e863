//! Arguments that several nouns have.

use clap::Args;
use prost_types::FieldMask;

use crate::input::definition::Definition;

/// How much of a list is shown.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Paging {
    /// Show at most so many; further pages are asked for as needed. 0 shows all.
    #[arg(long, default_value_t = 100, value_name = "N")]
    pub limit: usize,
    /// Ask for so many at once, 1 to 1000.
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..=1000))]
    page_size: Option<u32>,
}

impl Paging {
    /// How many are asked for at once, if that was said.
    pub fn page_size(&self) -> Option<usize> {
        self.page_size.and_then(|it| usize::try_from(it).ok())
    }
}

/// Which one.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Named {
    /// Its name; the collection before it may be left out.
    pub name: String,
}

/// Which one, and what must not have changed since it was seen.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Verb {
    /// Its name; the collection before it may be left out.
    pub name: String,
    /// Do it only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub etag: String,
}

/// A definition that is created.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Create {
    /// The id: 2 to 63 lower-case letters, digits and hyphens, beginning with a letter.
    pub id: String,
    /// Its fields.
    #[command(flatten)]
    pub definition: Definition,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    pub validate_only: bool,
}

impl Create {
    /// The id without the collection, so that a full name is understood too.
    pub fn id(&self) -> String {
        self.id.rsplit('/').next().unwrap_or_default().to_owned()
    }
}

/// A definition that is changed.
#[derive(Debug, Clone, Args)]
#[group(skip)]
pub struct Update {
    /// Its name; the collection before it may be left out.
    pub name: String,
    /// Its fields.
    #[command(flatten)]
    pub definition: Definition,
    /// Write these fields, even when they are empty; without it the fields that are given are written, `*` means all.
    #[arg(long, value_name = "FIELDS", value_delimiter = ',')]
    pub mask: Vec<String>,
    /// Do it only if this is still its etag.
    #[arg(long, default_value = "", hide_default_value = true)]
    pub etag: String,
    /// Check everything and show the result, but store nothing.
    #[arg(long)]
    pub validate_only: bool,
}

/// The mask of an update; none when nothing was said.
pub fn mask(paths: &[String]) -> Option<FieldMask> {
    (!paths.is_empty()).then(|| FieldMask { paths: paths.to_vec() })
}
