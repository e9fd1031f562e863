//! Campaigns over everybody, through the use cases that the API calls.

use domain::fallback::{Step, Success, Target};
use serde_json::Map;
use server::services::{
    audiences::{self, NewAudience},
    campaigns::{
        self, NewCampaign,
        spec::{Definition, Spec},
        verbs,
    },
    triggers::Way,
    work::Work,
};

use super::World;

impl World {
    /// A list of all people of this world.
    ///
    /// # Errors
    /// What storage says.
    pub async fn everybody(&self) -> anyhow::Result<()> {
        sqlx::raw_sql(
            "with a as (insert into audience (slug, kind, definition, created_at, updated_at)
                        values ('all', 'list', '{\"kind\": \"list\"}', now(), now()) returning id)
             insert into audience_member (audience_id, contact_id) select a.id, c.id from a, contact c order by c.id;
             analyze audience_member",
        )
        .execute(&self.pool)
        .await?;
        Ok(())
    }

    /// People by a filter, for audiences of a part.
    ///
    /// # Errors
    /// What the use case says.
    pub async fn filtered(&self, slug: &str, filter: &str) -> anyhow::Result<()> {
        let mut work = Work::begin(&self.context).await?;
        let definition = audiences::Definition::Filter { filter: filter.to_owned() };
        let new =
            NewAudience { slug: slug.to_owned(), display_name: String::new(), description: String::new(), definition };
        audiences::create(&self.context, &mut work, &new).await?;
        Ok(work.commit(&self.context).await?)
    }

    /// Writes a campaign of one step over a channel and starts it.
    ///
    /// # Errors
    /// What the use case says.
    pub async fn start_campaign(&self, slug: &str, audience: &str, channel: &str) -> anyhow::Result<()> {
        let mut step = Step::to(Target::Channel(channel.to_owned()));
        step.template = Some("received".into());
        step.success = Success::Delivered;
        let spec = Spec {
            audience: audience.to_owned(),
            plan: Way { step: Some(step), ..Way::default() },
            variables: Map::from_iter([("number".to_owned(), serde_json::json!("GR-1"))]),
            purpose: String::new(),
            rate_per_second: None,
            rate_per_hour: None,
            budget: None,
            weight: 10,
            window: None,
            valid_for_ms: None,
            at_send: false,
        };
        let new = NewCampaign {
            slug: slug.to_owned(),
            display_name: String::new(),
            definition: Definition { spec, local: None },
            start_at: None,
        };
        let mut work = Work::begin(&self.context).await?;
        campaigns::create(&mut work, &new).await?;
        verbs::start(&self.context, &mut work, slug, "").await?;
        Ok(work.commit(&self.context).await?)
    }
}
