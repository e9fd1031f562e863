//! A server with canned answers on a real socket: any method of the contract answers what a test says, and every request
//! is kept for the test to look at.

use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};
use std::thread::JoinHandle;

use futures::{Stream, StreamExt, TryStreamExt};
use prost::Message;
use prost::bytes::{Buf, BufMut, Bytes};
use tokio::net::TcpListener;
use tokio::sync::oneshot;
use tonic::body::Body;
use tonic::codec::{Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};
use tonic::codegen::{BoxFuture, Service, http};
use tonic::server::{Grpc, NamedService, StreamingService};
use tonic::service::Routes;
use tonic::{Request, Response, Status, Streaming};

/// What a method answers.
#[derive(Clone, Default)]
pub struct Reply {
    messages: Vec<Bytes>,
    status: Option<Status>,
    hangs: bool,
}

impl Reply {
    /// One message, or a stream of several.
    pub fn messages<T: Message>(messages: &[T]) -> Self {
        Self { messages: messages.iter().map(|it| it.encode_to_vec().into()).collect(), ..Self::default() }
    }

    /// One message.
    pub fn message<T: Message>(message: &T) -> Self {
        Self::messages(std::slice::from_ref(message))
    }

    /// A refusal.
    pub fn refusal(status: Status) -> Self {
        Self { status: Some(status), ..Self::default() }
    }

    /// The same messages, and then this status.
    pub fn then(self, status: Status) -> Self {
        Self { status: Some(status), ..self }
    }

    /// The same messages, and then nothing for ever.
    pub fn hanging(self) -> Self {
        Self { hangs: true, ..self }
    }
}

/// What was asked: the path and the messages.
#[derive(Clone)]
pub struct Asked {
    path: String,
    messages: Vec<Bytes>,
}

#[derive(Default)]
struct State {
    replies: Mutex<HashMap<String, VecDeque<Reply>>>,
    asked: Mutex<Vec<Asked>>,
}

/// A running server, which stops when it is dropped.
pub struct Fake {
    /// Its address.
    pub url: String,
    state: Arc<State>,
    stop: Option<oneshot::Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Fake {
    /// Starts a server that answers every method with an empty message.
    pub fn start() -> Self {
        let state = Arc::new(State::default());
        let (stop, stopped) = oneshot::channel::<()>();
        let (ready, address) = std::sync::mpsc::channel();
        let thread = std::thread::spawn({
            let state = state.clone();
            move || {
                let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
                runtime.block_on(async move {
                    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
                    ready.send(listener.local_addr().unwrap()).unwrap();
                    let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
                    let server = tonic::transport::Server::builder().add_routes(routes(&state));
                    tokio::select! {
                        ended = server.serve_with_incoming(incoming) => ended.unwrap(),
                        _ = stopped => {}
                    }
                });
            }
        });
        let url = format!("http://{}", address.recv().unwrap());
        Self { url, state, stop: Some(stop), thread: Some(thread) }
    }

    /// Says what a method answers, call by call; the last answer stays.
    pub fn answers(&self, method: &str, replies: impl IntoIterator<Item = Reply>) -> &Self {
        self.state.replies.lock().unwrap().insert(path(method), replies.into_iter().collect());
        self
    }

    /// The first message of each call of a method, in order.
    pub fn asked<T: Message + Default>(&self, method: &str) -> Vec<T> {
        let all = self.messages::<T>(method);
        all.into_iter().map(|mut messages| messages.remove(0)).collect()
    }

    /// All messages of each call of a method, in order.
    pub fn messages<T: Message + Default>(&self, method: &str) -> Vec<Vec<T>> {
        let asked = self.state.asked.lock().unwrap().clone();
        let calls = asked.into_iter().filter(|it| it.path == path(method));
        calls.map(|it| it.messages.into_iter().map(|bytes| T::decode(bytes).unwrap()).collect()).collect()
    }

    /// How many calls there were of a method.
    pub fn count(&self, method: &str) -> usize {
        self.state.asked.lock().unwrap().iter().filter(|it| it.path == path(method)).count()
    }
}

impl Drop for Fake {
    fn drop(&mut self) {
        self.stop.take().map(|it| it.send(()));
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn path(method: &str) -> String {
    match method.split_once('/') {
        Some(_) => format!("/{method}"),
        None => format!("/switchboard.v1.{}", method.replacen('.', "/", 1)),
    }
}

/// Answers one call.
struct Answerer {
    state: Arc<State>,
    path: String,
}

type Answers = Pin<Box<dyn Stream<Item = Result<Bytes, Status>> + Send>>;

impl StreamingService<Bytes> for Answerer {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = BoxFuture<Response<Answers>, Status>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let (state, path) = (self.state.clone(), self.path.clone());
        Box::pin(async move {
            let messages: Vec<Bytes> = request.into_inner().try_collect().await?;
            state.asked.lock().unwrap().push(Asked { path: path.clone(), messages });
            let reply = match state.replies.lock().unwrap().get_mut(&path) {
                Some(replies) if replies.len() > 1 => replies.pop_front().unwrap_or_default(),
                Some(replies) => replies.front().cloned().unwrap_or_default(),
                None => Reply { messages: vec![Bytes::new()], ..Reply::default() },
            };
            if reply.messages.is_empty() && !reply.hangs {
                return Err(reply.status.unwrap_or_else(|| Status::internal("the test says nothing")));
            }
            let messages = reply.messages.into_iter().map(Ok).chain(reply.status.map(Err));
            let messages = futures::stream::iter(messages.collect::<Vec<_>>());
            let answers: Answers = match reply.hangs {
                true => Box::pin(messages.chain(futures::stream::pending())),
                false => Box::pin(messages),
            };
            Ok(Response::new(answers))
        })
    }
}

macro_rules! served {
    ($($service:ident = $name:literal),+ $(,)?) => {
        $(
            #[derive(Clone)]
            struct $service(Arc<State>);

            impl NamedService for $service {
                const NAME: &'static str = $name;
            }

            impl Service<http::Request<Body>> for $service {
                type Response = http::Response<Body>;
                type Error = Infallible;
                type Future = BoxFuture<Self::Response, Infallible>;

                fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
                    Poll::Ready(Ok(()))
                }

                fn call(&mut self, request: http::Request<Body>) -> Self::Future {
                    let answerer = Answerer { state: self.0.clone(), path: request.uri().path().to_owned() };
                    Box::pin(async move { Ok(Grpc::new(Encoded).streaming(answerer, request).await) })
                }
            }
        )+

        fn routes(state: &Arc<State>) -> Routes {
            Routes::default()$(.add_service($service(state.clone())))+
        }
    };
}

served! {
    Audiences = "switchboard.v1.AudienceService",
    CallLists = "switchboard.v1.CallListService",
    Campaigns = "switchboard.v1.CampaignService",
    Channels = "switchboard.v1.ChannelService",
    Compliances = "switchboard.v1.ComplianceService",
    Connectors = "switchboard.v1.ConnectorService",
    Contacts = "switchboard.v1.ContactService",
    Controllers = "switchboard.v1.ControllerService",
    Conversations = "switchboard.v1.ConversationService",
    Events = "switchboard.v1.EventService",
    Messages = "switchboard.v1.MessageService",
    Notifications = "switchboard.v1.NotificationService",
    Policies = "switchboard.v1.PolicyService",
    Templates = "switchboard.v1.TemplateService",
    Triggers = "switchboard.v1.TriggerService",
    WebChats = "switchboard.v1.WebChatService",
    Health = "grpc.health.v1.Health",
}

/// Messages as bytes.
#[derive(Clone, Copy)]
struct Encoded;

impl Codec for Encoded {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Self;
    type Decoder = Self;

    fn encoder(&mut self) -> Self {
        Self
    }

    fn decoder(&mut self) -> Self {
        Self
    }
}

impl Encoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, item: Bytes, target: &mut EncodeBuf<'_>) -> Result<(), Status> {
        target.put(item);
        Ok(())
    }
}

impl Decoder for Encoded {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, source: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        Ok(Some(source.copy_to_bytes(source.remaining())))
    }
}
