-- Notifications with the names of what they belong to, in the order of the ids that are asked for. Every join is by a key.
select n.id as "id!", n.plan_id as "plan_id!", p.slug as "policy?", v.number as "policy_number?", n.state::text as "state!",
       n.reason as "reason?", n.contact_id as "contact_id!", c.slug as "campaign?", t.slug as "trigger?",
       n.step as "step!", n.purpose as "purpose!", n.lane::text as "lane!", n.variables as "variables!",
       n.labels as "labels?", n.deliver_after as "deliver_after?", n.valid_until as "valid_until?",
       n.answered_by as "answered_by?", n.late as "late!", n.generation as "generation!",
       n.created_at as "created_at!", n.changed_at as "changed_at!",
       (select f.id from firing f where f.notification_id = n.id limit 1) as "firing?",
       (select count(*) from notification_attachment a where a.notification_id = n.id) as "attachments!",
       -- A timer runs in the clock of its group; one that is due at once stands at the beginning of time.
       (select greatest(m.due_at + g.clock_shift, g.quiet_until, n.changed_at)
          from timer m join send_group g on g.id = m.send_group_id
         where m.owner = n.id and m.kind = 'step') as "next_due_at?",
       (select g.paused_at from delivery d join send_group g on g.id = d.send_group_id
         where d.notification_id = n.id and not g.running order by d.step desc limit 1) as "paused_at?",
       case when n.state in ('reached', 'replied', 'acknowledged') then coalesce(
         (select k.slug from message m join channel k on k.id = m.channel_id where m.id = n.answered_by),
         (select k.slug from archived_message m join channel k on k.id = m.channel_id where m.id = n.answered_by),
         (select k.slug from delivery d join channel k on k.id = d.channel_id
           where d.notification_id = n.id and d.evidence in ('sent', 'delivered', 'read')
           order by d.evidence desc, d.step desc limit 1)) end as "reached_channel?"
  from unnest($1::uuid[]) with ordinality as x(id, position)
  join notification n on n.id = x.id
  join plan l on l.id = n.plan_id
  left join policy_version v on v.id = l.policy_version_id
  left join policy p on p.id = v.policy_id
  left join campaign c on c.id = n.campaign_id
  left join trigger t on t.id = n.trigger_id
 order by x.position
