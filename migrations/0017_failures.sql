-- Recipients of a campaign by the class of their last failure. Few deliveries fail, and the class is written with the failure alone:
-- the index is small, and the updates of all others stay heap-only.
create index delivery_failed_class on delivery (send_group_id, failure_class, notification_id) where failure_class is not null;
