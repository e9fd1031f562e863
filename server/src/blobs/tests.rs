//! The store over a real folder.

use super::*;

fn folder() -> (tempfile::TempDir, Blobs) {
    let folder = tempfile::tempdir().unwrap();
    let blobs = Blobs::open(&Place::Folder(folder.path().join("made/when/needed"))).unwrap();
    (folder, blobs)
}

async fn read(blobs: &Blobs, key: &Key) -> Result<Vec<u8>> {
    let mut stream = blobs.get(key).await?;
    let mut all = Vec::new();
    while let Some(part) = stream.next().await {
        all.extend(part?);
    }
    Ok(all)
}

async fn names(blobs: &Blobs, area: &str) -> Vec<String> {
    let mut all: Vec<String> = blobs.list(area).map(|file| file.unwrap().key.to_string()).collect().await;
    all.sort();
    all
}

#[tokio::test]
async fn a_content_is_stored_once_under_its_own_name() {
    let (_folder, blobs) = folder();
    let first = blobs.put("media", "", Bytes::from_static(b"abc")).await.unwrap();
    let again = blobs.put("media", "", Bytes::from_static(b"abc")).await.unwrap();
    let other = blobs.put("archive", ".zst", Bytes::from_static(b"abc")).await.unwrap();
    let digits = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
    assert_eq!((first.to_string(), &again), (format!("media/ba/{digits}"), &first));
    assert_eq!(other.to_string(), format!("archive/ba/{digits}.zst"));
    assert_eq!(Key::parse(&first.to_string()).unwrap(), first);
    assert_eq!(read(&blobs, &first).await.unwrap(), b"abc");
    assert_eq!(names(&blobs, "media").await, [first.to_string()]);
}

#[tokio::test]
async fn what_was_removed_is_gone_and_may_be_removed_again() {
    let (_folder, blobs) = folder();
    let key = blobs.put("media", "", Bytes::from_static(b"abc")).await.unwrap();
    blobs.delete(&key).await.unwrap();
    blobs.delete(&key).await.unwrap();
    assert!(matches!(read(&blobs, &key).await, Err(Error::NotFound(missing)) if missing == key));
    assert!(names(&blobs, "media").await.is_empty());
}

#[tokio::test]
async fn a_part_of_a_file_is_read_alone() {
    let (_folder, blobs) = folder();
    let key = blobs.put("archive", "", Bytes::from_static(b"0123456789")).await.unwrap();
    assert_eq!(blobs.get_part(&key, 3, 4).await.unwrap(), "3456");
    assert!(matches!(blobs.get_part(&key, 30, 4).await, Err(Error::Failed(_))));
    let gone = Key::of("archive", &sha256(b"gone"), "");
    assert!(matches!(blobs.get_part(&gone, 0, 1).await, Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_store_can_be_checked() {
    let (_folder, blobs) = folder();
    blobs.check().await.unwrap();
    assert!(names(&blobs, "check").await.is_empty());
    let file = tempfile::NamedTempFile::new().unwrap();
    assert!(matches!(Blobs::open(&Place::Folder(file.path().to_owned())), Err(Error::Settings(_))));
}
