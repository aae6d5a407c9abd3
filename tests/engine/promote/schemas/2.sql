BEGIN TRANSACTION;
CREATE TABLE tidegate_chain (
	loop TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	hash TEXT NOT NULL, 
	at TEXT NOT NULL, 
	PRIMARY KEY (loop)
);
INSERT INTO "tidegate_chain" VALUES('crash',24,'2b9555c2a7961dba0e6d293ff975f65ff482afdd0f4bf11627dd6c61472ae183','2026-01-01T00:00:00.000000+00:00');
CREATE TABLE tidegate_head (
	loop TEXT NOT NULL, 
	stage TEXT NOT NULL, 
	model TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	seq BIGINT NOT NULL, 
	since TEXT NOT NULL, 
	PRIMARY KEY (loop, stage)
);
INSERT INTO "tidegate_head" VALUES('crash','staging','',4,16,'2026-01-01T00:00:00.000000+00:00');
INSERT INTO "tidegate_head" VALUES('crash','preproduction','',4,18,'2026-01-01T00:00:00.000000+00:00');
INSERT INTO "tidegate_head" VALUES('crash','production','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a',3,20,'2026-01-01T00:00:00.000000+00:00');
CREATE TABLE tidegate_lease (
	loop TEXT NOT NULL, 
	generation BIGINT NOT NULL, 
	holder TEXT NOT NULL, 
	beat BIGINT NOT NULL, 
	seconds DOUBLE NOT NULL, 
	since TEXT NOT NULL, 
	seen TEXT NOT NULL, 
	PRIMARY KEY (loop)
);
INSERT INTO "tidegate_lease" VALUES('crash',1,'',0,60.0,'2026-01-01T00:00:00.000000+00:00','2026-01-01T00:00:00.000000+00:00');
CREATE TABLE tidegate_row (
	loop TEXT NOT NULL, 
	seq BIGINT NOT NULL, 
	id TEXT NOT NULL, 
	kind TEXT NOT NULL, 
	window TEXT NOT NULL, 
	model TEXT NOT NULL, 
	at TEXT NOT NULL, 
	payload TEXT NOT NULL, 
	previous TEXT NOT NULL, 
	hash TEXT NOT NULL, 
	PRIMARY KEY (loop, seq), 
	CONSTRAINT tidegate_row_id UNIQUE (loop, id)
);
INSERT INTO "tidegate_row" VALUES('crash',1,'first:decision','decision','first','','2026-01-01T00:00:00.000000+00:00','{"window":"first"}','0000000000000000000000000000000000000000000000000000000000000000','78aea8a4cfcfd518c280d04c0fd839852600de9130b49dedd513467ca7f9ff05');
INSERT INTO "tidegate_row" VALUES('crash',2,'first:candidate:verdict','verdict','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","outcome":"pass","window":"first"}','78aea8a4cfcfd518c280d04c0fd839852600de9130b49dedd513467ca7f9ff05','778e3dae3fa30d27077005ee6ba2ce097d93580a49a769022a2bc81248a79d19');
INSERT INTO "tidegate_row" VALUES('crash',3,'first:candidate','stage','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"","generation":0,"id":"first:candidate","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"passed","route":"evidence","source":null,"target":"candidate","window":"first"}','778e3dae3fa30d27077005ee6ba2ce097d93580a49a769022a2bc81248a79d19','8a54a5af09ad32f380c23111cc259c82ee3934a2e6df27769d8ae32edccaf983');
INSERT INTO "tidegate_row" VALUES('crash',4,'first:staging:verdict','verdict','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","outcome":"pass","window":"first"}','8a54a5af09ad32f380c23111cc259c82ee3934a2e6df27769d8ae32edccaf983','75b2d926c2692eaa449ff61758ded85fc8c74008cfa0a6e31a197feaf919d24e');
INSERT INTO "tidegate_row" VALUES('crash',5,'first:staging','stage','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"first:staging:verdict","generation":1,"id":"first:staging","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"passed","route":"evidence","source":"candidate","target":"staging","window":"first"}','75b2d926c2692eaa449ff61758ded85fc8c74008cfa0a6e31a197feaf919d24e','89600a42bdc5899b3ace4eecc153314f1c7a0947113a8ed69985e24372387894');
INSERT INTO "tidegate_row" VALUES('crash',6,'first:preproduction:verdict','verdict','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","outcome":"pass","window":"first"}','89600a42bdc5899b3ace4eecc153314f1c7a0947113a8ed69985e24372387894','129329efa6d42c823b5649adcc53bcd049ce7a19b82b7988d39bd05c8f659ee7');
INSERT INTO "tidegate_row" VALUES('crash',7,'first:preproduction','stage','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"first:preproduction:verdict","generation":1,"id":"first:preproduction","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"passed","route":"evidence","source":"staging","target":"preproduction","window":"first"}','129329efa6d42c823b5649adcc53bcd049ce7a19b82b7988d39bd05c8f659ee7','60c8fddf1f05d5d513b9be1de090c89666d87528716dabe6858a8bad71323444');
INSERT INTO "tidegate_row" VALUES('crash',8,'first:production:verdict','verdict','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","outcome":"pass","window":"first"}','60c8fddf1f05d5d513b9be1de090c89666d87528716dabe6858a8bad71323444','58ad57c2f97e3b0a97e41e9c1bec8e00e26519c3ab446ac49f5f192529e3f5cd');
INSERT INTO "tidegate_row" VALUES('crash',9,'first:production','stage','first','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"first:production:verdict","generation":1,"id":"first:production","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"passed","route":"evidence","source":"preproduction","target":"production","window":"first"}','58ad57c2f97e3b0a97e41e9c1bec8e00e26519c3ab446ac49f5f192529e3f5cd','fb57e6bf14a9060ca724f7bd089cd6ffbd29d2ffd5977f02d4d16b2fc3b889c6');
INSERT INTO "tidegate_row" VALUES('crash',10,'second:decision','decision','second','','2026-01-01T00:00:00.000000+00:00','{"window":"second"}','fb57e6bf14a9060ca724f7bd089cd6ffbd29d2ffd5977f02d4d16b2fc3b889c6','d5f8301126e8cae2361ccb10e04d4d06dd65f0d40e98c810c2cd159b935eea86');
INSERT INTO "tidegate_row" VALUES('crash',11,'second:candidate:verdict','verdict','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","outcome":"pass","window":"second"}','d5f8301126e8cae2361ccb10e04d4d06dd65f0d40e98c810c2cd159b935eea86','744227db0820a49a7bb8adb7fe025d29659e3d081ca4182d298fb4c61ae56c44');
INSERT INTO "tidegate_row" VALUES('crash',12,'second:candidate','stage','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"","generation":0,"id":"second:candidate","model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","reason":"passed","route":"evidence","source":null,"target":"candidate","window":"second"}','744227db0820a49a7bb8adb7fe025d29659e3d081ca4182d298fb4c61ae56c44','6379d78d1e31ed173867a3757463921bd31dcdcb197d35a6331fab21992b7fd0');
INSERT INTO "tidegate_row" VALUES('crash',13,'second:staging:verdict','verdict','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","outcome":"pass","window":"second"}','6379d78d1e31ed173867a3757463921bd31dcdcb197d35a6331fab21992b7fd0','d75a6e0bf13a79e1b25054b02118cdcc9687f9201b8e8cca3c0b3d3b8b37b190');
INSERT INTO "tidegate_row" VALUES('crash',14,'second:staging','stage','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"second:staging:verdict","generation":3,"id":"second:staging","model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","reason":"passed","route":"evidence","source":"candidate","target":"staging","window":"second"}','d75a6e0bf13a79e1b25054b02118cdcc9687f9201b8e8cca3c0b3d3b8b37b190','ce27babd80cbca7568b7ea53b61288daada0dcc85654d23c9230861ae81d1c8e');
INSERT INTO "tidegate_row" VALUES('crash',15,'second:preproduction:verdict','verdict','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","outcome":"pass","window":"second"}','ce27babd80cbca7568b7ea53b61288daada0dcc85654d23c9230861ae81d1c8e','3102c1cfd32ef98356af8f17ff8f1c00024672cc6142f756242ff628b4524c76');
INSERT INTO "tidegate_row" VALUES('crash',16,'second:preproduction','stage','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"second:preproduction:verdict","generation":3,"id":"second:preproduction","model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","reason":"passed","route":"evidence","source":"staging","target":"preproduction","window":"second"}','3102c1cfd32ef98356af8f17ff8f1c00024672cc6142f756242ff628b4524c76','511d8fd8e3ca5374b9e3e6e1671d39894355d459a09e128b2ea73319e06d98df');
INSERT INTO "tidegate_row" VALUES('crash',17,'second:production:verdict','verdict','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","outcome":"pass","window":"second"}','511d8fd8e3ca5374b9e3e6e1671d39894355d459a09e128b2ea73319e06d98df','0e64b1fa6c1b752a74532a06aa3106144d2880612090a345a66674f7814f1ce8');
INSERT INTO "tidegate_row" VALUES('crash',18,'second:production','stage','second','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"second:production:verdict","generation":2,"id":"second:production","model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","reason":"passed","route":"evidence","source":"preproduction","target":"production","window":"second"}','0e64b1fa6c1b752a74532a06aa3106144d2880612090a345a66674f7814f1ce8','4d8e61fbee0102381fa5a0c9f2c791b11c9fbe470c56b9dd1fffdc5699b848b0');
INSERT INTO "tidegate_row" VALUES('crash',19,'second:production:displaced','stage','second','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"loop","decision":"","evidence":"","generation":0,"id":"second:production:displaced","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316 took its place: passed","route":"evidence","source":"production","target":"retired","window":"second"}','4d8e61fbee0102381fa5a0c9f2c791b11c9fbe470c56b9dd1fffdc5699b848b0','98f35544dc7e7d9b85fcba741cec3c9f6fe2addcf3c70a393d5be26af224f8f5');
INSERT INTO "tidegate_row" VALUES('crash',20,'action','stage','','cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a','2026-01-01T00:00:00.000000+00:00','{"actor":"rule","decision":"","evidence":"","generation":3,"id":"action","model":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a","reason":"harm","route":"rollback","source":"retired","target":"production","window":""}','98f35544dc7e7d9b85fcba741cec3c9f6fe2addcf3c70a393d5be26af224f8f5','f5099be9364e51251e9c4795ec8290abc2caee6ce2e6af3435e979701e2c7c67');
INSERT INTO "tidegate_row" VALUES('crash',21,'action:displaced','stage','','4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316','2026-01-01T00:00:00.000000+00:00','{"actor":"rule","decision":"","evidence":"","generation":0,"id":"action:displaced","model":"4110bad5586f72e0ee9eb56ca06c4156ebc8e0f83019fb19a29c82eded183316","reason":"cc400b9274166ec935123e4bea80b9a92778832f7147b458faebd2f5044d0c6a took its place: harm","route":"rollback","source":"production","target":"quarantined","window":""}','f5099be9364e51251e9c4795ec8290abc2caee6ce2e6af3435e979701e2c7c67','3558a37d5c6852e0382218d58cc4eb10b7b9da8f0b1796598fa77e89a3c0533e');
INSERT INTO "tidegate_row" VALUES('crash',22,'third:opened','opened','third','','2026-01-01T00:00:00.000000+00:00','{"index":2,"window":"third"}','3558a37d5c6852e0382218d58cc4eb10b7b9da8f0b1796598fa77e89a3c0533e','462d7b77b01301b57967004db40d93ae17c6705793f19339b6648e173ab245fd');
INSERT INTO "tidegate_row" VALUES('crash',23,'third:decision:inputs','inputs','third','','2026-01-01T00:00:00.000000+00:00','{"conf":{},"evidence":{"x":null},"version":"0.1.0"}','462d7b77b01301b57967004db40d93ae17c6705793f19339b6648e173ab245fd','3b1fa33fb55d2d041259df2fd20557ccbd858c0709c1572df98e0eab55c3d23a');
INSERT INTO "tidegate_row" VALUES('crash',24,'third:decision','decision','third','','2026-01-01T00:00:00.000000+00:00','{"action":"keep","window":"third"}','3b1fa33fb55d2d041259df2fd20557ccbd858c0709c1572df98e0eab55c3d23a','2b9555c2a7961dba0e6d293ff975f65ff482afdd0f4bf11627dd6c61472ae183');
CREATE TABLE tidegate_schema (
	version INTEGER NOT NULL, 
	PRIMARY KEY (version)
);
INSERT INTO "tidegate_schema" VALUES(2);
CREATE INDEX tidegate_row_kind ON tidegate_row (loop, kind, seq);
CREATE INDEX tidegate_row_model ON tidegate_row (loop, model, kind, seq);
CREATE UNIQUE INDEX tidegate_head_model ON tidegate_head (loop, model) WHERE model != '';
CREATE TRIGGER tidegate_row_UPDATE BEFORE UPDATE ON tidegate_row
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
CREATE TRIGGER tidegate_row_DELETE BEFORE DELETE ON tidegate_row
BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END;
COMMIT;
