//! The table of all RPCs: which request goes to which method and what comes back, so that a noun only has to make a
//! request. A test holds the table against the contract's descriptors: an RPC that is added there must be added here.
//!
//! It says nothing of how a call is made; that is `client`.

use proto::v1;

/// A request that knows its method.
pub trait Rpc: prost::Message + Default + Clone + 'static {
    /// What the method returns, or each message of the stream that it returns.
    type Response: prost::Message + Default + 'static;
    /// The service without its package, such as `ContactService`.
    const SERVICE: &'static str;
    /// The method, such as `GetContact`.
    const METHOD: &'static str;
}

macro_rules! rpcs {
    ($($service:ident { $($method:ident($request:ident) -> $response:ty;)+ })+) => {
        $($(
            impl Rpc for v1::$request {
                type Response = $response;
                const SERVICE: &'static str = stringify!($service);
                const METHOD: &'static str = stringify!($method);
            }
        )+)+

        /// Service, method, request and response of every row, as written.
        #[cfg(test)]
        const TABLE: &[(&str, &str, &str, &str)] =
            &[$($((stringify!($service), stringify!($method), stringify!($request), stringify!($response)),)+)+];
    };
}

rpcs! {
    AudienceService {
        CreateAudience(CreateAudienceRequest) -> v1::Audience;
        GetAudience(GetAudienceRequest) -> v1::Audience;
        ListAudiences(ListAudiencesRequest) -> v1::ListAudiencesResponse;
        UpdateAudience(UpdateAudienceRequest) -> v1::Audience;
        DeleteAudience(DeleteAudienceRequest) -> ();
        AddAudienceMembers(AddAudienceMembersRequest) -> v1::AddAudienceMembersResponse;
        RemoveAudienceMembers(RemoveAudienceMembersRequest) -> v1::RemoveAudienceMembersResponse;
        PreviewAudience(PreviewAudienceRequest) -> v1::PreviewAudienceResponse;
    }
    CallListService {
        CreateCallList(CreateCallListRequest) -> v1::CallList;
        GetCallList(GetCallListRequest) -> v1::CallList;
        ListCallLists(ListCallListsRequest) -> v1::ListCallListsResponse;
        UpdateCallList(UpdateCallListRequest) -> v1::CallList;
        DeleteCallList(DeleteCallListRequest) -> ();
        ListCallListEntries(ListCallListEntriesRequest) -> v1::ListCallListEntriesResponse;
    }
    CampaignService {
        CreateCampaign(CreateCampaignRequest) -> v1::Campaign;
        GetCampaign(GetCampaignRequest) -> v1::Campaign;
        ListCampaigns(ListCampaignsRequest) -> v1::ListCampaignsResponse;
        UpdateCampaign(UpdateCampaignRequest) -> v1::Campaign;
        DeleteCampaign(DeleteCampaignRequest) -> ();
        ValidateCampaign(ValidateCampaignRequest) -> v1::ValidateCampaignResponse;
        StartCampaign(StartCampaignRequest) -> v1::Campaign;
        PauseCampaign(PauseCampaignRequest) -> v1::Campaign;
        ResumeCampaign(ResumeCampaignRequest) -> v1::Campaign;
        CancelCampaign(CancelCampaignRequest) -> v1::Campaign;
        GetCampaignProgress(GetCampaignProgressRequest) -> v1::CampaignProgress;
        ListCampaignRecipients(ListCampaignRecipientsRequest) -> v1::ListCampaignRecipientsResponse;
        CountCampaignRecipients(CountCampaignRecipientsRequest) -> v1::CountCampaignRecipientsResponse;
        ExportCampaignRecipients(ExportCampaignRecipientsRequest) -> v1::ExportCampaignRecipientsResponse;
        WatchCampaign(WatchCampaignRequest) -> v1::WatchCampaignResponse;
    }
    ChannelService {
        CreateChannel(CreateChannelRequest) -> v1::Channel;
        GetChannel(GetChannelRequest) -> v1::Channel;
        ListChannels(ListChannelsRequest) -> v1::ListChannelsResponse;
        UpdateChannel(UpdateChannelRequest) -> v1::Channel;
        DeleteChannel(DeleteChannelRequest) -> ();
        EnableChannel(EnableChannelRequest) -> v1::Channel;
        DisableChannel(DisableChannelRequest) -> v1::Channel;
        ListConnectors(ListConnectorsRequest) -> v1::ListConnectorsResponse;
        CheckChannel(CheckChannelRequest) -> v1::CheckChannelResponse;
        GetChannelHealth(GetChannelHealthRequest) -> v1::ChannelHealth;
    }
    ComplianceService {
        SetFrequencyCap(SetFrequencyCapRequest) -> v1::FrequencyCap;
        ListFrequencyCaps(ListFrequencyCapsRequest) -> v1::ListFrequencyCapsResponse;
        DeleteFrequencyCap(DeleteFrequencyCapRequest) -> ();
        AddSuppressions(AddSuppressionsRequest) -> v1::AddSuppressionsResponse;
        RemoveSuppressions(RemoveSuppressionsRequest) -> v1::RemoveSuppressionsResponse;
        ListSuppressions(ListSuppressionsRequest) -> v1::ListSuppressionsResponse;
        EraseContact(EraseContactRequest) -> v1::Erasure;
        GetErasure(GetErasureRequest) -> v1::Erasure;
        ListErasures(ListErasuresRequest) -> v1::ListErasuresResponse;
    }
    ConnectorService {
        AttachConnector(AttachConnectorRequest) -> v1::AttachConnectorResponse;
        StreamDeliveries(StreamDeliveriesRequest) -> v1::StreamDeliveriesResponse;
        AckDelivery(AckDeliveryRequest) -> v1::AckDeliveryResponse;
        IngestInbound(IngestInboundRequest) -> v1::IngestInboundResponse;
        ReportReceipt(ReportReceiptRequest) -> v1::ReportReceiptResponse;
        ClaimDeliveries(ClaimDeliveriesRequest) -> v1::ClaimDeliveriesResponse;
        MarkAttempts(MarkAttemptsRequest) -> v1::MarkAttemptsResponse;
        ReportOutcomes(ReportOutcomesRequest) -> v1::ReportOutcomesResponse;
        ListConnectorInstances(ListConnectorInstancesRequest) -> v1::ListConnectorInstancesResponse;
    }
    ContactService {
        CreateContact(CreateContactRequest) -> v1::Contact;
        GetContact(GetContactRequest) -> v1::Contact;
        ListContacts(ListContactsRequest) -> v1::ListContactsResponse;
        UpdateContact(UpdateContactRequest) -> v1::Contact;
        UpsertContact(UpsertContactRequest) -> v1::UpsertContactResponse;
        DeleteContact(DeleteContactRequest) -> ();
        ResolveContact(ResolveContactRequest) -> v1::ResolveContactResponse;
        ImportContacts(ImportContactsRequest) -> v1::ImportContactsResponse;
        SetConsent(SetConsentRequest) -> v1::Consent;
        ListConsents(ListConsentsRequest) -> v1::ListConsentsResponse;
    }
    ControllerService {
        CreateController(CreateControllerRequest) -> v1::Controller;
        GetController(GetControllerRequest) -> v1::Controller;
        ListControllers(ListControllersRequest) -> v1::ListControllersResponse;
        UpdateController(UpdateControllerRequest) -> v1::Controller;
        DeleteController(DeleteControllerRequest) -> ();
        ListControllerVersions(ListControllerVersionsRequest) -> v1::ListControllerVersionsResponse;
        ValidateController(ValidateControllerRequest) -> v1::ValidateControllerResponse;
        ListControllerRuns(ListControllerRunsRequest) -> v1::ListControllerRunsResponse;
        StreamIntents(StreamIntentsRequest) -> v1::StreamIntentsResponse;
        ExecuteActions(ExecuteActionsRequest) -> v1::ExecuteActionsResponse;
    }
    ConversationService {
        GetConversation(GetConversationRequest) -> v1::Conversation;
        ListConversations(ListConversationsRequest) -> v1::ListConversationsResponse;
        ListActivities(ListActivitiesRequest) -> v1::ListActivitiesResponse;
        CountConversations(CountConversationsRequest) -> v1::CountConversationsResponse;
        CreateConversation(CreateConversationRequest) -> v1::Conversation;
        UpdateConversation(UpdateConversationRequest) -> v1::Conversation;
        CloseConversation(CloseConversationRequest) -> v1::Conversation;
        ForceCloseConversation(ForceCloseConversationRequest) -> v1::Conversation;
        HoldConversation(HoldConversationRequest) -> v1::Conversation;
        ResumeConversation(ResumeConversationRequest) -> v1::Conversation;
        SetActiveChannel(SetActiveChannelRequest) -> v1::Conversation;
        MergeConversations(MergeConversationsRequest) -> v1::Conversation;
        AddParticipant(AddParticipantRequest) -> v1::Participant;
        RemoveParticipant(RemoveParticipantRequest) -> v1::Participant;
        ChangeParticipantRole(ChangeParticipantRoleRequest) -> v1::Participant;
        ListParticipants(ListParticipantsRequest) -> v1::ListParticipantsResponse;
        GetChannelSession(GetChannelSessionRequest) -> v1::ChannelSession;
        ListChannelSessions(ListChannelSessionsRequest) -> v1::ListChannelSessionsResponse;
        EndChannelSession(EndChannelSessionRequest) -> v1::ChannelSession;
        CreateContactToken(CreateContactTokenRequest) -> v1::ContactToken;
        WatchConversation(WatchConversationRequest) -> v1::WatchConversationResponse;
        WatchConversations(WatchConversationsRequest) -> v1::WatchConversationsResponse;
    }
    EventService {
        Subscribe(SubscribeRequest) -> v1::SubscribeResponse;
        GetEventCursor(GetEventCursorRequest) -> v1::EventCursor;
        CreateWebhook(CreateWebhookRequest) -> v1::Webhook;
        GetWebhook(GetWebhookRequest) -> v1::Webhook;
        ListWebhooks(ListWebhooksRequest) -> v1::ListWebhooksResponse;
        UpdateWebhook(UpdateWebhookRequest) -> v1::Webhook;
        DeleteWebhook(DeleteWebhookRequest) -> ();
        EnableWebhook(EnableWebhookRequest) -> v1::Webhook;
        DisableWebhook(DisableWebhookRequest) -> v1::Webhook;
        ListDeadLetters(ListDeadLettersRequest) -> v1::ListDeadLettersResponse;
        ReplayEvents(ReplayEventsRequest) -> v1::ReplayEventsResponse;
    }
    MessageService {
        GetMessage(GetMessageRequest) -> v1::Message;
        ListMessages(ListMessagesRequest) -> v1::ListMessagesResponse;
        SendMessage(SendMessageRequest) -> v1::Message;
        SearchMessages(SearchMessagesRequest) -> v1::SearchMessagesResponse;
        RedactMessage(RedactMessageRequest) -> v1::Message;
        CreateNote(CreateNoteRequest) -> v1::Message;
        MarkRead(MarkReadRequest) -> v1::ReadMark;
        ListReadMarks(ListReadMarksRequest) -> v1::ListReadMarksResponse;
        SetTyping(SetTypingRequest) -> v1::SetTypingResponse;
        WatchTyping(WatchTypingRequest) -> v1::WatchTypingResponse;
        ListReceipts(ListReceiptsRequest) -> v1::ListReceiptsResponse;
        GetMedia(GetMediaRequest) -> v1::GetMediaResponse;
        ExportMessages(ExportMessagesRequest) -> v1::ExportMessagesResponse;
        ImportMessages(ImportMessagesRequest) -> v1::ImportMessagesResponse;
    }
    NotificationService {
        SendNotification(SendNotificationRequest) -> v1::Notification;
        BatchSendNotifications(BatchSendNotificationsRequest) -> v1::BatchSendNotificationsResponse;
        GetNotification(GetNotificationRequest) -> v1::Notification;
        ListNotifications(ListNotificationsRequest) -> v1::ListNotificationsResponse;
        CancelNotification(CancelNotificationRequest) -> v1::Notification;
        WatchNotification(WatchNotificationRequest) -> v1::WatchNotificationResponse;
    }
    PolicyService {
        CreatePolicy(CreatePolicyRequest) -> v1::FallbackPolicy;
        GetPolicy(GetPolicyRequest) -> v1::FallbackPolicy;
        ListPolicies(ListPoliciesRequest) -> v1::ListPoliciesResponse;
        UpdatePolicy(UpdatePolicyRequest) -> v1::FallbackPolicy;
        DeletePolicy(DeletePolicyRequest) -> ();
        ListPolicyVersions(ListPolicyVersionsRequest) -> v1::ListPolicyVersionsResponse;
        ValidatePolicy(ValidatePolicyRequest) -> v1::ValidatePolicyResponse;
        SimulatePolicy(SimulatePolicyRequest) -> v1::SimulatePolicyResponse;
    }
    TemplateService {
        CreateTemplate(CreateTemplateRequest) -> v1::Template;
        GetTemplate(GetTemplateRequest) -> v1::Template;
        ListTemplates(ListTemplatesRequest) -> v1::ListTemplatesResponse;
        UpdateTemplate(UpdateTemplateRequest) -> v1::Template;
        DeleteTemplate(DeleteTemplateRequest) -> ();
        CreateTemplateVersion(CreateTemplateVersionRequest) -> v1::TemplateVersion;
        GetTemplateVersion(GetTemplateVersionRequest) -> v1::TemplateVersion;
        ListTemplateVersions(ListTemplateVersionsRequest) -> v1::ListTemplateVersionsResponse;
        RenderTemplate(RenderTemplateRequest) -> v1::RenderTemplateResponse;
    }
    TriggerService {
        CreateSource(CreateSourceRequest) -> v1::Source;
        GetSource(GetSourceRequest) -> v1::Source;
        ListSources(ListSourcesRequest) -> v1::ListSourcesResponse;
        UpdateSource(UpdateSourceRequest) -> v1::Source;
        DeleteSource(DeleteSourceRequest) -> ();
        CheckSource(CheckSourceRequest) -> v1::CheckSourceResponse;
        CreateTrigger(CreateTriggerRequest) -> v1::Trigger;
        GetTrigger(GetTriggerRequest) -> v1::Trigger;
        ListTriggers(ListTriggersRequest) -> v1::ListTriggersResponse;
        UpdateTrigger(UpdateTriggerRequest) -> v1::Trigger;
        DeleteTrigger(DeleteTriggerRequest) -> ();
        EnableTrigger(EnableTriggerRequest) -> v1::Trigger;
        DisableTrigger(DisableTriggerRequest) -> v1::Trigger;
        DryRunTrigger(DryRunTriggerRequest) -> v1::DryRunTriggerResponse;
        FireTrigger(FireTriggerRequest) -> v1::FireTriggerResponse;
        ListFirings(ListFiringsRequest) -> v1::ListFiringsResponse;
        GetFiring(GetFiringRequest) -> v1::Firing;
        ReplayFiring(ReplayFiringRequest) -> v1::Firing;
        PreviewSchedule(PreviewScheduleRequest) -> v1::PreviewScheduleResponse;
        GetTriggerSql(GetTriggerSqlRequest) -> v1::TriggerSql;
    }
    WebChatService {
        StartSession(StartWebChatSessionRequest) -> v1::WebChatSession;
        SendMessage(SendWebChatMessageRequest) -> v1::SendWebChatMessageResponse;
        StreamMessages(StreamWebChatMessagesRequest) -> v1::StreamWebChatMessagesResponse;
        AcknowledgeMessages(AcknowledgeWebChatMessagesRequest) -> v1::AcknowledgeWebChatMessagesResponse;
        SetTyping(SetWebChatTypingRequest) -> v1::SetWebChatTypingResponse;
        EndSession(EndWebChatSessionRequest) -> v1::WebChatSession;
    }
}

#[cfg(test)]
mod tests {
    use super::TABLE;
    use crate::contract;

    #[test]
    fn every_rpc_of_the_contract_is_in_the_table_with_its_types() {
        let mut contract: Vec<[String; 4]> = Vec::new();
        for service in contract::services() {
            for method in service.methods() {
                let types = [method.input(), method.output()].map(|it| it.full_name().to_owned());
                contract.push([service.name().into(), method.name().into(), types[0].clone(), types[1].clone()]);
            }
        }
        let mut table: Vec<[String; 4]> = TABLE
            .iter()
            .map(|(service, method, request, response)| {
                let response = match *response {
                    "()" => "google.protobuf.Empty".to_owned(),
                    other => other.replace("v1::", "switchboard.v1."),
                };
                [(*service).into(), (*method).into(), format!("switchboard.v1.{request}"), response]
            })
            .collect();
        contract.sort();
        table.sort();
        assert!(table.len() > 70, "only {} rows", table.len());
        assert_eq!(table, contract);
    }
}
