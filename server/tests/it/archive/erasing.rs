//! A contact is erased: nobody reads anything of it from that moment, and soon no file has it; the receipt says so.

use proto::v1::{self, compliance_service_client::ComplianceServiceClient, erasure::State};
use server::services::{
    archive::{rewriting, sweeping},
    messages::media,
};
use tonic::{Code, transport::Channel};

use super::Shelf;
use crate::{
    conversations::{PHONE, id_of},
    reading::reason,
};

const OTHER: &str = "+919812345679";

impl Shelf {
    fn compliance(&self) -> ComplianceServiceClient<Channel> {
        ComplianceServiceClient::new(self.stage.served.channel.clone())
    }

    async fn erase(&self, contact: &str) -> Result<v1::Erasure, tonic::Status> {
        let request =
            v1::EraseContactRequest { contact: contact.into(), reason: "request 118".into(), ..Default::default() };
        Ok(self.compliance().erase_contact(request).await?.into_inner())
    }

    async fn receipt(&self, name: &str) -> anyhow::Result<v1::Erasure> {
        let request = v1::GetErasureRequest { name: name.into() };
        Ok(self.compliance().get_erasure(request).await?.into_inner())
    }

    async fn contact_of(&self, conversation: &str) -> anyhow::Result<String> {
        Ok(self.stage.get(conversation).await?.contact)
    }

    /// Every text of every row of the database and of every file of the archive.
    async fn everything(&self) -> anyhow::Result<String> {
        let pool = &self.stage.served.world.db.pool;
        let tables: Vec<String> = sqlx::query_scalar(
            "select relname::text from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace",
        )
        .fetch_all(pool)
        .await?;
        let mut all = self.said().await?;
        for table in tables {
            let sql = format!("select coalesce(string_agg(x::text, ' '), '') from {table} x");
            all.push_str(&sqlx::query_scalar::<_, String>(sqlx::AssertSqlSafe(sql)).fetch_one(pool).await?);
        }
        Ok(all)
    }
}

#[tokio::test]
async fn nothing_of_an_erased_contact_is_read_at_once_and_nothing_is_left_soon() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let theirs = shelf.closed(PHONE, "My word is marigold").await?;
    let other = shelf.closed(OTHER, "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    shelf.stage.says(shelf.stage.sms, PHONE, "And jasmine").await?;
    let (open, contact) = (shelf.stage.newest(PHONE).await?.name, shelf.contact_of(&theirs).await?);
    let message = shelf.messages(&theirs).await?.remove(0).name;

    let erasure = shelf.erase(&contact).await?;
    assert_eq!(
        (erasure.state(), erasure.contact.as_str(), erasure.archive_files.len()),
        (State::UnderWay, contact.as_str(), 1)
    );
    for (what, n) in [("conversations", 2), ("archived_conversations", 1), ("messages", 3), ("addresses", 1)] {
        assert_eq!(erasure.erased.get(what), Some(&n), "{what}: {erasure:?}");
    }
    for name in [&theirs, &open] {
        let gone = shelf.stage.get(name).await.expect_err("gone");
        assert_eq!(gone.downcast_ref::<tonic::Status>().map(tonic::Status::code), Some(Code::NotFound));
        assert_eq!(shelf.messages(name).await?, []);
    }
    assert_eq!(shelf.stage.served.message(id_of(&message)).await.expect_err("gone").code(), Code::NotFound);
    let get = v1::GetContactRequest { name: contact.clone() };
    let mut contacts = v1::contact_service_client::ContactServiceClient::new(shelf.stage.served.channel.clone());
    assert_eq!(contacts.get_contact(get).await.expect_err("gone").code(), Code::NotFound);

    shelf.kept().await?;
    let receipt = shelf.receipt(&erasure.name).await?;
    assert_eq!(receipt.state(), State::Done);
    assert!(receipt.done_time.is_some() && receipt.archive_files.iter().all(|file| file.remove_time.is_some()));
    let files: Vec<String> = shelf.files("archive").await?.iter().map(ToString::to_string).collect();
    assert!(!files.contains(&receipt.archive_files[0].file), "{files:?}");
    let left = shelf.everything().await?;
    for said in ["marigold", "jasmine", PHONE] {
        assert!(!left.contains(said), "{said} is left");
    }
    assert_eq!(shelf.words(&other).await?, ["Hello", "Thank you."]);
    assert!(shelf.stage.get(&other).await?.archive_time.is_some());
    Ok(())
}

#[tokio::test]
async fn a_file_in_which_nobody_else_is_goes_as_a_whole() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let theirs = shelf.closed(PHONE, "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let erasure = shelf.erase(&shelf.contact_of(&theirs).await?).await?;
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::Done);
    assert_eq!(shelf.files("archive").await?.len(), 0);
    assert_eq!(shelf.count("select count(*) from archive_file").await?, 0);
    Ok(())
}

#[tokio::test]
async fn a_contact_who_is_erased_while_a_file_is_written_anew_is_not_in_the_new_one() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let (first, second) =
        (shelf.closed(PHONE, "My word is marigold").await?, shelf.closed(OTHER, "Mine is jasmine").await?);
    let third = shelf.closed("+919812345670", "Hello").await?;
    shelf.later().await?;
    shelf.kept().await?;
    let second_contact = shelf.contact_of(&second).await?;
    let one = shelf.erase(&shelf.contact_of(&first).await?).await?;
    let old = server::storage::archive::files::stained(&mut *shelf.context.lists.conn().await?, 9).await?.remove(0);
    let anew = rewriting::write(&shelf.context, old).await?.expect("written");
    let two = shelf.erase(&second_contact).await?;
    assert!(!anew.replace(&shelf.context).await?, "it still holds the second one");
    shelf.kept().await?;
    for name in [&one.name, &two.name] {
        assert_eq!(shelf.receipt(name).await?.state(), State::Done);
    }
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert!(!shelf.said().await?.contains("My word") && !shelf.said().await?.contains("jasmine"));
    assert_eq!(shelf.words(&third).await?, ["Hello", "Thank you."]);
    Ok(())
}

#[tokio::test]
async fn a_file_that_a_crash_left_behind_keeps_the_receipt_open_until_it_is_swept() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let theirs = shelf.closed(PHONE, "My word is marigold").await?;
    let contact = shelf.contact_of(&theirs).await?;
    shelf.later().await?;
    drop(shelf.gathered().await?.write(&shelf.context).await?);
    let erasure = shelf.erase(&contact).await?;
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::UnderWay, "the file has it still");
    sweeping::sweep(&shelf.context, chrono::TimeDelta::zero()).await?;
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::Done);
    assert_eq!(shelf.files("archive").await?.len(), 0);
    Ok(())
}

#[tokio::test]
async fn who_is_erased_while_their_conversation_goes_into_the_archive_is_in_no_file_of_it() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let (theirs, other) = (shelf.closed(PHONE, "My word is marigold").await?, shelf.closed(OTHER, "Hello").await?);
    let contact = shelf.contact_of(&theirs).await?;
    shelf.later().await?;
    let written = shelf.gathered().await?.write(&shelf.context).await?.expect("written");
    let erasure = shelf.erase(&contact).await?;
    assert_eq!(written.index(&shelf.context).await?.moved, 1, "the other one goes");
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::Done);
    assert_eq!(shelf.files("archive").await?.len(), 1);
    assert!(!shelf.everything().await?.contains("marigold"));
    assert_eq!(shelf.words(&other).await?, ["Hello", "Thank you."]);
    Ok(())
}

#[tokio::test]
async fn copies_of_files_go_too_and_the_receipt_waits_for_them() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let theirs = shelf.closed(PHONE, "Hello").await?;
    let message = id_of(&shelf.messages(&theirs).await?.pop().expect("a message").name);
    let key = shelf.context.blobs.put(media::AREA, "", bytes::Bytes::from_static(b"a photo")).await?;
    sqlx::query(
        "insert into media (message_id, channel_id, reference, state, mime_type, sha256, size, stored_at)
         values ($1, 1, 'x', 'stored', 'image/jpeg', $2, 7, now())",
    )
    .bind(message)
    .bind(server::blobs::sha256(b"a photo").as_slice())
    .execute(&shelf.stage.served.world.db.pool)
    .await?;
    shelf.later().await?;
    shelf.kept().await?;
    let copy = shelf.stage.served.message(message).await?.media_copy.unwrap_or_default();
    assert_eq!(copy.state(), v1::message::media_copy::State::Stored, "it is read as before");

    let erasure = shelf.erase(&shelf.contact_of(&theirs).await?).await?;
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::UnderWay, "the copy is still there");
    media::pass(&shelf.context).await?;
    shelf.kept().await?;
    assert_eq!(shelf.receipt(&erasure.name).await?.state(), State::Done);
    assert!(!shelf.files(media::AREA).await?.contains(&key));
    assert_eq!(shelf.count("select count(*) from media").await?, 0);
    Ok(())
}

#[tokio::test]
async fn an_address_that_others_have_stays_theirs() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    let theirs = shelf.closed(PHONE, "Hello").await?;
    let sibling: i64 = sqlx::query_scalar(
        "with c as (insert into contact (created_at, updated_at) values (now(), now()) returning id)
         insert into contact_address (contact_id, address_id) select c.id, a.id from c, address a where a.value = $1
         returning contact_id",
    )
    .bind(PHONE)
    .fetch_one(&shelf.stage.served.world.db.pool)
    .await?;
    let erasure = shelf.erase(&shelf.contact_of(&theirs).await?).await?;
    assert_eq!(erasure.erased.get("addresses"), Some(&0));
    let left =
        shelf.count("select count(*) from address where value = '+919812345678' and suppressed_at is null").await?;
    assert_eq!((left, sibling > 0), (1, true));
    Ok(())
}

#[tokio::test]
async fn who_is_being_written_to_now_is_erased_when_that_is_over() -> anyhow::Result<()> {
    let shelf = Shelf::new().await?;
    shelf.stage.says(shelf.stage.sms, PHONE, "Hello").await?;
    let open = shelf.stage.newest(PHONE).await?;
    shelf.answered(&open.name, "Thank you.").await?;
    shelf.stage.set("update delivery set work = 'sending'").await?;
    let refused = shelf.erase(&open.contact).await.expect_err("on its way");
    assert_eq!((refused.code(), reason(&refused).as_str()), (Code::FailedPrecondition, "STATE_WRONG"));
    assert_eq!(shelf.words(&open.name).await?, ["Hello", "Thank you."]);
    shelf.stage.set("update delivery set work = 'done'").await?;
    let erasure = shelf.erase(&open.contact).await?;
    let again = shelf.erase(&open.contact).await?;
    assert_eq!((erasure.erased["conversations"], again.erased["conversations"]), (1, 0), "a second one finds nothing");
    assert_eq!(shelf.erase("contacts/999999").await.expect_err("nobody").code(), Code::NotFound);
    let list = v1::ListErasuresRequest { contact: open.contact, page_size: 1, ..Default::default() };
    let page = shelf.compliance().list_erasures(list.clone()).await?.into_inner();
    assert_eq!(page.erasures[0].name, again.name);
    let next = v1::ListErasuresRequest { page_token: page.next_page_token, ..list };
    assert_eq!(shelf.compliance().list_erasures(next).await?.into_inner().erasures[0].name, erasure.name);
    Ok(())
}
