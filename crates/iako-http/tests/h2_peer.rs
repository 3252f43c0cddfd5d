//! The `h2` crate as a peer of our HTTP/2, in both roles: what another implementation says and hears.

#[cfg(test)]
mod tests {
    use std::io::IoSlice;
    use std::time::Duration;

    use bytes::{Bytes, BytesMut};
    use h2::{RecvStream, SendStream};
    use iako_http::h2::{
        Answer, Connection, Ends, ErrorCode, Event, H2Limits, ResetCause, Shutdown, StreamId,
    };
    use iako_http::{
        BodyLength, Fields, FieldsBuilder, HeaderEdits, Method, RequestEdits, RequestHead,
        RequestParts, RequestSection, ResponseEdits, ResponseHead, Scheme, Version,
    };
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};

    /// Carries a connection over a transport until either side ends it, reading while it writes.
    ///
    /// `work` hears every event, and is called once more without one when all were heard.
    async fn drive(
        mut connection: Connection,
        transport: DuplexStream,
        mut work: impl FnMut(&mut Connection, Option<Event>),
    ) -> Connection {
        let (mut reader, mut writer) = tokio::io::split(transport);
        let mut input = BytesMut::new();
        loop {
            while let Some(event) = connection.receive(&mut input).unwrap() {
                work(&mut connection, Some(event));
            }
            work(&mut connection, None);
            let has_output = connection.prepare();
            if connection.is_finished() {
                return connection;
            }
            let mut slices = [IoSlice::new(&[]); 16];
            let filled = connection.slices(&mut slices);
            tokio::select! {
                written = writer.write_vectored(&slices[..filled]), if has_output => {
                    let Ok(written) = written else { return connection };
                    connection.advance(written);
                }
                read = reader.read_buf(&mut input) => {
                    if matches!(read, Ok(0) | Err(_)) {
                        return connection;
                    }
                }
            }
        }
    }

    fn run(test: impl Future<Output = ()>) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let local = tokio::task::LocalSet::new();
        let limit = Duration::from_secs(60);
        local.block_on(&runtime, async {
            tokio::time::timeout(limit, test).await.expect("the conversation comes to an end");
        });
    }

    fn content(length: usize, seed: u8) -> Bytes {
        (0..=250).cycle().take(length).map(|octet: u8| seed.wrapping_add(octet)).collect()
    }

    fn fields(pairs: &[(&str, &str)]) -> Fields {
        let mut fields = FieldsBuilder::default();
        for (name, value) in pairs {
            fields.push(*name, value.as_bytes());
        }
        fields.build()
    }

    fn respond(connection: &mut Connection, stream: StreamId, ends: Ends) {
        let fields = fields(&[("server", "ours"), ("x-long", &"v".repeat(300))]);
        let head = ResponseHead::new(200, Version::Http2, BodyLength::Chunked, fields);
        let answer = Answer { head: &head, edits: &ResponseEdits::default(), length: None };
        connection.respond(stream, answer, ends);
    }

    /// A server that sends back whatever it gets, trailers too.
    fn echo(connection: &mut Connection, event: Option<Event>) {
        match event {
            Some(Event::Request { stream, ends, head }) => {
                assert_eq!(head.authority(), "a.test");
                respond(connection, stream, ends);
            }
            Some(Event::Data { stream, bytes, ends }) => {
                let length = bytes.len();
                connection.data(stream, bytes, ends);
                connection.release(stream, length);
            }
            Some(Event::Trailers { stream, fields }) => {
                connection.trailers(stream, &fields, &HeaderEdits::default());
            }
            Some(_) | None => {}
        }
    }

    async fn send_all(stream: &mut SendStream<Bytes>, mut bytes: Bytes, ends: Ends) {
        while !bytes.is_empty() {
            stream.reserve_capacity(bytes.len());
            let room = std::future::poll_fn(|context| stream.poll_capacity(context))
                .await
                .unwrap()
                .unwrap();
            let part = bytes.split_to(room.min(bytes.len()));
            stream.send_data(part, ends.here() && bytes.is_empty()).unwrap();
        }
    }

    async fn read_all(mut stream: RecvStream) -> (Vec<u8>, Option<http::HeaderMap>) {
        let mut content = Vec::new();
        while let Some(piece) = stream.data().await {
            let piece = piece.unwrap();
            stream.flow_control().release_capacity(piece.len()).unwrap();
            content.extend_from_slice(&piece);
        }
        (content, stream.trailers().await.unwrap())
    }

    fn request(method: http::Method) -> http::Request<()> {
        http::Request::builder()
            .method(method)
            .uri("http://a.test/path?query")
            .header("x-request", "of the h2 crate")
            .version(http::Version::HTTP_2)
            .body(())
            .unwrap()
    }

    /// Sixty exchanges at once with content of all sizes through such windows.
    async fn exchange_with_our_server(window: u32, limits: H2Limits) {
        let (ours, theirs) = tokio::io::duplex(10_000);
        let server = tokio::task::spawn_local(drive(Connection::server(limits), ours, echo));
        let (client, connection) = h2::client::Builder::new()
            .initial_window_size(window)
            .initial_connection_window_size(window.max(65_535))
            .max_frame_size(20_000)
            .handshake::<_, Bytes>(theirs)
            .await
            .unwrap();
        let driver = tokio::task::spawn_local(connection);
        let mut exchanges = Vec::new();
        for number in 0..60_u8 {
            let client = client.clone();
            exchanges.push(tokio::task::spawn_local(async move {
                let mut client = client.ready().await.unwrap();
                if number == 0 {
                    let (response, _) =
                        client.send_request(request(http::Method::GET), true).unwrap();
                    let response = response.await.unwrap();
                    assert_eq!(response.headers()["server"], "ours");
                    assert!(response.body().is_end_stream());
                    return;
                }
                let with_trailers = number % 3 == 0;
                let (response, mut stream) =
                    client.send_request(request(http::Method::POST), false).unwrap();
                let sent = content(usize::from(number) * 1777, number);
                let ends = if with_trailers { Ends::Later } else { Ends::Here };
                let reading = tokio::task::spawn_local(async {
                    read_all(response.await.unwrap().into_body()).await
                });
                send_all(&mut stream, sent.clone(), ends).await;
                if with_trailers {
                    let mut trailers = http::HeaderMap::new();
                    trailers.insert("x-trailer", "there".parse().unwrap());
                    stream.send_trailers(trailers).unwrap();
                }
                let (received, trailers) = reading.await.unwrap();
                assert!(received == sent, "{number}: the content is what was sent");
                assert_eq!(trailers.is_some(), with_trailers);
            }));
        }
        for exchange in exchanges {
            exchange.await.unwrap();
        }
        drop(client);
        driver.await.unwrap().unwrap();
        let server = server.await.unwrap();
        assert_eq!(server.streams(), 0);
    }

    #[test]
    fn its_client_and_our_server_agree_through_usual_windows() {
        run(exchange_with_our_server(65_535, H2Limits::default()));
    }

    #[test]
    fn its_client_and_our_server_agree_through_narrow_windows_and_few_streams() {
        let limits = H2Limits {
            concurrent_streams_max: 3,
            stream_window_bytes_start: 1000,
            connection_window_bytes_start: 65_535,
            window_updates_per_data_frame_max: 100,
            ..H2Limits::default()
        };
        run(exchange_with_our_server(500, limits));
    }

    #[test]
    fn its_client_is_told_a_graceful_end_and_loses_nothing() {
        run(async {
            let (ours, theirs) = tokio::io::duplex(10_000);
            let mut requests = 0;
            let server = tokio::task::spawn_local(drive(
                Connection::server(H2Limits::default()),
                ours,
                move |connection, event| {
                    if matches!(event, Some(Event::Request { .. })) {
                        requests += 1;
                        if requests == 10 {
                            connection.shut_down(Shutdown::Graceful);
                        }
                    }
                    echo(connection, event);
                },
            ));
            let (client, connection) = h2::client::handshake(theirs).await.unwrap();
            let driver = tokio::task::spawn_local(connection);
            let mut answered = 0;
            loop {
                let Ok(mut ready) = client.clone().ready().await else { break };
                let Ok((response, _)) = ready.send_request(request(http::Method::GET), true) else {
                    break;
                };
                match response.await {
                    Ok(_) => answered += 1,
                    Err(error) => {
                        assert!(error.is_go_away(), "{error}");
                        break;
                    }
                }
            }
            assert!(answered >= 10, "{answered}");
            assert_eq!(server.await.unwrap().streams(), 0);
            driver.await.unwrap().unwrap();
        });
    }

    #[test]
    fn its_client_hears_our_resets_and_ours_are_heard() {
        run(async {
            let (ours, theirs) = tokio::io::duplex(10_000);
            let server = tokio::task::spawn_local(drive(
                Connection::server(H2Limits::default()),
                ours,
                |connection, event| match event {
                    Some(Event::Request { stream, ends: Ends::Here, .. }) => {
                        connection.reset(stream, ErrorCode::REFUSED_STREAM);
                    }
                    Some(Event::Reset { code, cause, .. }) => {
                        assert_eq!((code, cause), (ErrorCode::CANCEL, ResetCause::Peer));
                        connection.shut_down(Shutdown::Final(ErrorCode::ENHANCE_YOUR_CALM));
                    }
                    Some(_) | None => {}
                },
            ));
            let (mut client, connection) = h2::client::handshake(theirs).await.unwrap();
            let driver = tokio::task::spawn_local(connection);
            let (response, _) = client.send_request(request(http::Method::GET), true).unwrap();
            let error = response.await.unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::REFUSED_STREAM));
            let (response, mut stream) =
                client.send_request(request(http::Method::POST), false).unwrap();
            stream.send_reset(h2::Reason::CANCEL);
            drop((response, stream));
            let error = driver.await.unwrap().unwrap_err();
            assert_eq!(error.reason(), Some(h2::Reason::ENHANCE_YOUR_CALM));
            server.await.unwrap();
        });
    }

    /// One message of our client, and what came back.
    #[derive(Debug, Default)]
    struct Asked {
        sent: Bytes,
        received: Vec<u8>,
        trailers: bool,
        ended: bool,
    }

    /// A client that asks as many questions as it may at once, until all are answered.
    fn ask(
        asked: std::rc::Rc<std::cell::RefCell<Vec<Asked>>>,
        count: usize,
    ) -> impl FnMut(&mut Connection, Option<Event>) {
        let mut is_greeted = false;
        move |connection, event| {
            let mut asked = asked.borrow_mut();
            is_greeted |= matches!(event, Some(Event::Settings(_)));
            let place = |stream: StreamId| (stream.number() / 2) as usize;
            match event {
                Some(Event::Response { stream, head, ends }) => {
                    assert_eq!(head.status(), 200);
                    asked[place(stream)].ended |= ends.here();
                }
                Some(Event::Data { stream, bytes, ends }) => {
                    asked[place(stream)].received.extend_from_slice(&bytes);
                    asked[place(stream)].ended |= ends.here();
                    connection.release(stream, bytes.len());
                }
                Some(Event::Trailers { stream, .. }) => {
                    asked[place(stream)].ended = true;
                    asked[place(stream)].trailers = true;
                }
                Some(Event::Reset { .. }) => panic!("{event:?}"),
                Some(_) | None => {}
            }
            while is_greeted && asked.len() < count && connection.room() > 0 {
                let number = asked.len();
                let sent = content(number * 1777, u8::try_from(number).unwrap());
                let head = RequestHead::from_parts(
                    RequestParts {
                        method: Method::Post,
                        scheme: Some(Scheme::Http),
                        authority: b"a.test",
                        path: b"/path",
                        protocol: b"",
                        length: BodyLength::Chunked,
                    },
                    FieldsBuilder::default(),
                );
                let section = RequestSection { scheme: Scheme::Http, length: None, protocol: None };
                let stream =
                    connection.open(&head, &RequestEdits::default(), section, Ends::Later).unwrap();
                if number.is_multiple_of(3) {
                    connection.data(stream, sent.clone(), Ends::Later);
                    let trailers = fields(&[("x-trailer", "there")]);
                    connection.trailers(stream, &trailers, &HeaderEdits::default());
                } else {
                    connection.data(stream, sent.clone(), Ends::Here);
                }
                asked.push(Asked { sent, ..Asked::default() });
            }
            if asked.len() == count && asked.iter().all(|asked| asked.ended) {
                connection.shut_down(Shutdown::Final(ErrorCode::NO_ERROR));
            }
        }
    }

    async fn exchange_with_its_server(builder: h2::server::Builder, limits: H2Limits) {
        let (ours, theirs) = tokio::io::duplex(10_000);
        let server = tokio::task::spawn_local(async move {
            let mut connection = builder.handshake::<_, Bytes>(theirs).await.unwrap();
            while let Some(Ok((request, mut respond))) = connection.accept().await {
                tokio::task::spawn_local(async move {
                    let (content, trailers) = read_all(request.into_body()).await;
                    let response = http::Response::new(());
                    let mut stream = respond.send_response(response, false).unwrap();
                    send_all(&mut stream, content.into(), Ends::Later).await;
                    match trailers {
                        Some(trailers) => stream.send_trailers(trailers).unwrap(),
                        None => stream.send_data(Bytes::new(), true).unwrap(),
                    }
                });
            }
        });
        let asked = std::rc::Rc::default();
        let work = ask(std::rc::Rc::clone(&asked), 60);
        let client = drive(Connection::client(limits), ours, work).await;
        assert_eq!(client.streams(), 0);
        drop(client);
        server.await.unwrap();
        for (number, asked) in asked.borrow().iter().enumerate() {
            assert!(asked.ended);
            assert!(asked.received == asked.sent, "{number}: the content is what was sent");
            assert_eq!(asked.trailers, number % 3 == 0);
        }
    }

    #[test]
    fn our_client_and_its_server_agree_through_usual_windows() {
        run(exchange_with_its_server(h2::server::Builder::new(), H2Limits::default()));
    }

    #[test]
    fn our_client_and_its_server_agree_through_narrow_windows_and_few_streams() {
        let mut builder = h2::server::Builder::new();
        builder
            .initial_window_size(700)
            .initial_connection_window_size(65_535)
            .max_concurrent_streams(4)
            .max_frame_size(30_000);
        let limits = H2Limits {
            stream_window_bytes_start: 1000,
            connection_window_bytes_start: 65_535,
            window_updates_per_data_frame_max: 100,
            ..H2Limits::default()
        };
        run(exchange_with_its_server(builder, limits));
    }
}
